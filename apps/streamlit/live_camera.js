// The browser's half of the Live page: shows the camera, sends small pictures, and draws the boxes that come back.
//
// Python gets {number, jpeg, begins}, the next one after the last was answered, and answers
// {number, faces: [{box, label, distance, kind}], size, problem}. The film itself never leaves the browser.
// openCamera, listCameras and whyNoCamera are in facerec/live/camera.js, which views/live.py puts before this file.

const LONGEST_SIDE = 640; // pixels of the longer side that are sent
const PATIENCE = 5000; // milliseconds until an answer counts as lost
const PAUSE = 2000; // milliseconds without a frame after a click on a link

const COLOURS = { known: "#ffd600", unknown: "#ff8060", looking: "#dcdcdc" };

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Corners of a box and a plate with a name, on a canvas over the mirrored film.
function draw(canvas, answer) {
  const pen = canvas.getContext("2d");
  const [width, height] = answer.size ?? [LONGEST_SIDE, LONGEST_SIDE];
  const sharp = Math.max(1, Math.min(3, (canvas.clientWidth * devicePixelRatio) / width));
  canvas.width = width * sharp;
  canvas.height = height * sharp;
  pen.scale(sharp, sharp);
  const size = Math.max(13, Math.round((15 * width) / Math.max(240, canvas.clientWidth)));
  pen.font = `600 ${size}px system-ui, sans-serif`;
  pen.textBaseline = "middle";
  const boxes = answer.faces.map(({ box: [left, y, w, h] }) => [width - left - w, y, w, h]);
  for (const [i, { box, label, distance, kind }] of answer.faces.entries()) {
    const [left, y, w, h] = box;
    const x = width - left - w; // as in a mirror
    pen.lineWidth = Math.max(2, width / 200);
    pen.strokeStyle = COLOURS[kind];
    pen.strokeRect(x, y, w, h);
    const text = distance ? `${label}  ${distance}` : label;
    const wide = pen.measureText(text).width + size;
    const high = size * 1.6;
    const from = Math.max(0, Math.min(width - wide, x + (w - wide) / 2));
    // Above the box or below it, unless another face is so near that the name might be taken for its name.
    const isFree = (at) =>
      at >= 0 &&
      at + high <= height &&
      boxes.every(
        ([left, top, w, h], j) =>
          j === i || from + wide < left || from > left + w || at > top + h + high || at + high < top - high,
      );
    const top = [y - high - 4, y + h + 4].find(isFree) ?? Math.max(0, y) + 4;
    pen.fillStyle = "rgba(16, 16, 16, 0.78)";
    pen.fillRect(from, top, wide, high);
    pen.fillStyle = COLOURS[kind];
    pen.fillText(text, from + size / 2, top + high / 2);
  }
}

function build(place) {
  const video = element("video", { muted: true, playsInline: true });
  video.setAttribute("aria-label", "Your camera, mirrored");
  const canvas = element("canvas");
  canvas.setAttribute("aria-hidden", "true");
  const start = element("button", { type: "button", textContent: "Start the camera" });
  const status = element("p", { className: "status", textContent: "The camera is off." });
  status.setAttribute("role", "status");
  const rate = element("p", { className: "rate" });
  const screen = element("div", { className: "screen", hidden: true }, video, canvas);
  const choice = element("select");
  const cameras = element("label", { className: "cameras", hidden: true }, "Camera ", choice);
  // The controls come first: the button that stops the camera must not be below the edge of the window.
  place.replaceChildren(element("div", { className: "controls" }, start, cameras, rate), status, screen);

  const live = { send: () => {} };
  let stream = null;
  let gone = false;
  let number = 0;
  let waiting = 0; // the frame that is not answered yet, or 0
  let began = true;
  let times = [];
  let watchdog = null;

  function say(text, isProblem = false) {
    if (status.textContent !== text) status.textContent = text;
    status.classList.toggle("problem", isProblem);
  }

  function stop(text = "The camera is off.", isProblem = false) {
    clearInterval(watchdog);
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    video.srcObject = null;
    screen.hidden = true;
    rate.textContent = "";
    start.textContent = "Start the camera";
    say(text, isProblem);
  }

  async function offerCameras() {
    const found = await listCameras();
    const now = stream?.getVideoTracks()[0].getSettings().deviceId;
    choice.replaceChildren(...found.map(({ id, name }) => new Option(name, id, false, id === now)));
    cameras.hidden = found.length < 2;
  }

  async function begin(id = "") {
    start.disabled = true;
    say("Waiting for the camera …");
    try {
      const film = await openCamera(LONGEST_SIDE, id);
      if (gone) {
        for (const track of film.getTracks()) track.stop(); // allowed after the page was left
        return;
      }
      stream = film;
      stream.getVideoTracks()[0].addEventListener("ended", () => stop("The camera stopped. Was it unplugged?", true));
      video.srcObject = stream;
      await video.play();
      screen.hidden = false;
      start.textContent = "Stop the camera";
      began = true;
      waiting = 0;
      times = [];
      say("Looking for faces …");
      watchdog = setInterval(() => {
        if (waiting && performance.now() - waiting.at > PATIENCE) shoot();
      }, 1000);
      shoot();
      offerCameras().catch(() => {}); // without a choice, this camera goes on
    } catch (error) {
      choice.replaceChildren(); // the chosen camera may be gone: next time, the browser chooses
      cameras.hidden = true;
      stop(whyNoCamera(error), true);
    } finally {
      start.disabled = false;
    }
  }

  // A frame that is sent while another page loads would cancel it.
  let quiet = 0; // no frame is sent before this time
  const pause = (event) => {
    if (event.target.closest?.("a")) quiet = performance.now() + PAUSE;
  };
  document.addEventListener("click", pause, true);

  const paper = element("canvas");
  function shoot() {
    if (!stream || gone || !video.videoWidth) return;
    const left = quiet - performance.now();
    if (left > 0) {
      setTimeout(shoot, left);
      return;
    }
    const scale = Math.min(1, LONGEST_SIDE / Math.max(video.videoWidth, video.videoHeight));
    paper.width = Math.round(video.videoWidth * scale);
    paper.height = Math.round(video.videoHeight * scale);
    paper.getContext("2d").drawImage(video, 0, 0, paper.width, paper.height);
    const jpeg = paper.toDataURL("image/jpeg", 0.8).split(",")[1];
    number += 1;
    waiting = { number, at: performance.now() };
    live.send({ number, jpeg, begins: began });
    began = false;
  }

  live.hear = (answer) => {
    if (!stream || !answer || answer.number !== waiting?.number) return;
    waiting = 0;
    if (answer.problem) {
      say(answer.problem, true);
      setTimeout(shoot, 1000);
      return;
    }
    draw(canvas, answer);
    const now = performance.now();
    times = [...times.filter((time) => now - time < 3000), now];
    if (times.length > 1) {
      const each = (times.at(-1) - times[0]) / (times.length - 1);
      rate.textContent = `${(1000 / each).toFixed(1)} frames per second`;
    }
    const names = answer.faces.map((face) => face.label);
    say(names.length ? `In view: ${names.join(", ")}` : "No face in view.");
    requestAnimationFrame(shoot);
  };
  live.end = () => {
    gone = true;
    document.removeEventListener("click", pause, true);
    stop();
  };
  start.addEventListener("click", () => (stream ? stop() : begin(choice.value)));
  choice.addEventListener("change", () => {
    stop("Changing the camera …");
    begin(choice.value);
  });
  return live;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const place = parentElement.querySelector(".live");
  if (!place) return;
  place.live ??= build(place);
  place.live.send = (message) => setTriggerValue("frame", message);
  place.live.hear(data);
  return () => place.live.end();
}
