// The browser's half of CameraWidget (widget.py): shows the reader's camera, on whichever machine Python runs.
//
// It sends Python {kind: "picture", name, number} with the bytes of a JPEG, and {kind: "camera", problem} when the
// camera was asked to start: the reason why it did not, or "". Python answers a picture with
// {kind: "seen", number, text}: a sentence about it. Nothing is stored in the notebook.

const LARGEST = 2000; // pixels of the longer side that are sent
const PERIOD = 1000; // milliseconds between two automatic pictures

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function render({ model, el }) {
  const video = element("video", { muted: true, playsInline: true, hidden: true });
  video.setAttribute("aria-label", "your camera, mirrored");
  const start = element("button", { type: "button", textContent: "Start the camera" });
  const take = element("button", { type: "button", textContent: "Take a picture (space)", disabled: true });
  const repeat = element("input", { type: "checkbox", disabled: true });
  const file = element("input", { type: "file", accept: "image/*" });
  const status = element("p", { className: "camera-status", textContent: "The camera is off." });
  status.setAttribute("role", "status");
  const last = element("img", { hidden: true, alt: "the last picture taken" });
  const controls = element(
    "div",
    { className: "camera-controls" },
    start,
    take,
    element("label", {}, repeat, " Take one every second"),
    element("label", { className: "camera-file" }, "or choose a picture: ", file),
  );
  el.classList.add("camera-widget");
  el.dataset.lmSuppressShortcuts = "true"; // the space bar is the camera's, not the notebook's
  el.tabIndex = 0;
  el.setAttribute("role", "group");
  el.setAttribute("aria-label", "camera");
  el.append(element("div", { className: "camera-pictures" }, video, last), controls, status);

  let stream = null;
  let timer = null;
  let number = 0;
  let answered = 0; // the number of the last picture that Python answered
  let gone = false; // whether the cell has been run again or closed

  function say(text, isProblem = false) {
    status.textContent = text;
    status.classList.toggle("camera-problem", isProblem);
  }

  function stop(text = "The camera is off.") {
    clearInterval(timer);
    timer = null;
    repeat.checked = false;
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    video.srcObject = null;
    video.hidden = true;
    start.textContent = "Start the camera";
    take.disabled = repeat.disabled = true;
    say(text);
  }

  async function begin() {
    start.disabled = true;
    say("Waiting for the camera …");
    try {
      const film = await openCamera(640); // of camera.js, which the widget puts before this file
      if (gone) {
        for (const track of film.getTracks()) track.stop(); // allowed too late: the widget, with its stop button, is gone
        return;
      }
      stream = film;
      stream.getVideoTracks()[0].addEventListener("ended", () => stop("The camera is gone: was it unplugged?"));
      video.srcObject = stream;
      await video.play();
      video.hidden = false;
      start.textContent = "Stop the camera";
      take.disabled = repeat.disabled = false;
      el.focus({ preventScroll: true });
      say("Look into the camera and press the space bar.");
      model.send({ kind: "camera", problem: "" });
    } catch (error) {
      stop();
      const problem = whyNoCamera(error);
      say(`${problem} You can choose a picture instead.`, true);
      model.send({ kind: "camera", problem });
    } finally {
      start.disabled = false;
    }
  }

  // Sends the picture of a video or of a decoded file, scaled down if it is large.
  async function send(source, width, height, name) {
    const scale = Math.min(1, LARGEST / Math.max(width, height));
    const canvas = element("canvas", { width: Math.round(width * scale), height: Math.round(height * scale) });
    canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
    URL.revokeObjectURL(last.src);
    last.src = URL.createObjectURL(blob);
    last.hidden = false;
    number += 1;
    say(`Sending picture ${number} to Python …`);
    model.send({ kind: "picture", name, number }, undefined, [await blob.arrayBuffer()]);
  }

  const shoot = () =>
    send(video, video.videoWidth, video.videoHeight, "camera").catch(() => say("This picture could not be taken.", true));

  start.addEventListener("click", () => (stream ? stop() : begin()));
  take.addEventListener("click", shoot);
  repeat.addEventListener("change", () => {
    clearInterval(timer);
    timer = repeat.checked ? setInterval(() => answered === number && shoot(), PERIOD) : null; // so no queue builds up
  });
  el.addEventListener("keydown", (event) => {
    if (event.key !== " " || take.disabled || event.target === file || event.target === repeat) return;
    if (event.target === start || event.target === take) return; // there, the space bar presses the button
    event.preventDefault();
    if (!event.repeat) shoot();
  });
  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    try {
      const picture = await createImageBitmap(chosen); // upright, however the camera was held
      await send(picture, picture.width, picture.height, chosen.name);
    } catch {
      say(`${chosen.name} is not a picture that this browser can open: save it as JPEG or PNG.`, true);
    }
    file.value = "";
  });
  const hear = (message) => {
    if (message.kind !== "seen") return;
    answered = message.number;
    say(`Picture ${message.number}: ${message.text}`);
  };
  model.on("msg:custom", hear);

  return () => {
    gone = true;
    model.off("msg:custom", hear);
    stop();
    URL.revokeObjectURL(last.src);
  };
}

export default { render };
