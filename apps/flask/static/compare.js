// The compare page with JavaScript: drag and drop, the camera, each face as soon as it is found, and the answer without
// a new page. Without it, the browser sends the form as usual.

import { openCamera, whyNoCamera } from "./camera.js";

const LARGEST = 2000; // pixels of the longer side that are sent
const MOST = 10_000_000; // bytes of one picture

const form = document.getElementById("pictures");
const token = form.elements.csrf_token.value;
const result = document.getElementById("result");
const working = document.getElementById("working");
const submit = form.querySelector("[type=submit]");
const heading = document.querySelector("h1");
const lead = document.querySelector(".lead");

document.documentElement.classList.add("js");
form.noValidate = true; // we say what is missing

function say(element, text, kind = "") {
  element.textContent = text;
  element.classList.toggle("problem", kind === "problem");
  element.classList.toggle("busy", kind === "busy");
}

// Shows an answer, or removes it; the heading and the title follow, as on the page without JavaScript.
function show(answer = "") {
  result.innerHTML = answer; // our own page, escaped there
  heading.textContent = answer ? "The answer" : "Two pictures";
  heading.classList.toggle("small", Boolean(answer));
  if (lead) lead.hidden = Boolean(answer);
  document.title = `${document.getElementById("verdict")?.textContent ?? "Two pictures"} · Two faces`;
}

// Sends a form; returns the answer, or throws an error with a sentence for people.
async function send(address, fields, headers = {}) {
  const data = new FormData();
  for (const [name, blob] of Object.entries(fields)) data.append(name, blob, "picture"); // files keep their names
  let answer;
  try {
    answer = await fetch(address, { method: "POST", body: data, headers: { "X-CSRFToken": token, ...headers } });
  } catch {
    throw new Error("The server can't be reached. Are you online?");
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({ detail: "Something went wrong. Please try again." }));
  if (problem.reason === "no-consent") location.assign("/?ended=1"); // it was ended in another tab, or ran out
  throw Object.assign(new Error(problem.detail), problem);
}

function asJpeg(canvas) {
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
}

// A copy that is no larger than needed, without the place and the time; a file that the browser can't open stays as it
// is.
async function smaller(file) {
  let picture;
  try {
    picture = await createImageBitmap(file); // upright
  } catch {
    return file;
  }
  const scale = Math.min(1, LARGEST / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white"; // behind transparent pixels
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return (await asJpeg(canvas)) ?? file;
}

class Slot {
  constructor(element) {
    this.element = element;
    this.name = element.dataset.slot;
    this.find = (selector) => element.querySelector(selector);
    this.status = this.find(".status");
    this.input = this.find("input");
    this.video = this.find("video");
    this.picture = null; // what will be compared
    this.looking = Promise.resolve(); // settled once the face is found, or not
    this.round = 0;
    this.refused = null; // the URL of a picture that did not work, while it is shown
    this.stream = null;
    const chosen = () => this.input.files[0] && this.give(this.input.files[0]);
    this.input.addEventListener("change", chosen);
    this.find(".start").addEventListener("click", () => this.film());
    this.find(".take").addEventListener("click", () => this.take());
    this.find(".stop").addEventListener("click", () => this.stop("The camera is off.", true));
    element.addEventListener("dragover", (event) => {
      event.preventDefault();
      element.classList.add("over");
    });
    element.addEventListener("dragleave", () => element.classList.remove("over"));
    element.addEventListener("drop", (event) => {
      event.preventDefault();
      element.classList.remove("over");
      const [file] = event.dataTransfer.files;
      if (file) this.give(file);
    });
    chosen(); // a file that was chosen before the script loaded
  }

  show(face, preview) {
    if (this.refused) URL.revokeObjectURL(this.refused);
    this.refused = null;
    this.element.classList.remove("refused");
    for (const [kind, source, text] of [
      ["face", face, "The face that was found"],
      ["preview", preview, "The picture, with a box around the face"],
    ]) {
      const image = this.find(`.${kind}`);
      image.hidden = !source;
      image.alt = source ? text : "";
      if (source) image.src = source;
      else image.removeAttribute("src");
    }
    this.element.classList.toggle("filled", Boolean(face));
  }

  // Keeps the picture visible, greyed, if the browser can show it.
  async refuse(picture) {
    const address = (this.refused = URL.createObjectURL(picture));
    const image = this.find(".preview");
    image.src = address;
    image.alt = "The picture that did not work";
    const isShown = await image.decode().then(() => true, () => false);
    if (this.refused !== address) return; // another picture came meanwhile
    image.hidden = !isShown;
    this.element.classList.toggle("refused", isShown);
  }

  give(file, camera = "Use the camera") {
    this.stop();
    this.find(".start").firstChild.textContent = camera;
    this.looking = this.look(file);
    return this.looking;
  }

  async look(file) {
    const round = ++this.round; // a later picture wins
    this.picture = null;
    this.show();
    show();
    if (working.classList.contains("problem")) say(working, "");
    say(this.status, "Looking for a face …", "busy");
    let picture = file;
    try {
      picture = await smaller(file);
      if (picture.size > MOST) throw new Error("This picture is larger than 10 MB.");
      const seen = await (await send("/api/detect", { picture })).json();
      if (round !== this.round) return;
      this.picture = picture;
      this.show(seen.face, seen.preview);
      const [x, , width] = seen.box;
      this.find(".inset").classList.toggle("left", x + width / 2 > 0.55 * seen.size[0]);
      const hints = seen.hints.map((hint) => ` Hint: ${hint}.`);
      say(this.status, seen.says + hints.join(""));
    } catch (error) {
      if (round === this.round) {
        say(this.status, error.message, "problem");
        await this.refuse(picture);
      }
    }
    this.input.value = ""; // the same file may be chosen again
  }

  buttons(isFilming) {
    this.element.classList.toggle("filming", isFilming);
    this.video.hidden = !isFilming;
    this.find(".take").hidden = this.find(".stop").hidden = !isFilming;
    this.find(".start").hidden = this.find(".file").hidden = isFilming;
  }

  async film() {
    const round = ++this.round;
    this.picture = null;
    this.show();
    say(this.status, "Waiting for the camera …", "busy");
    try {
      const stream = await openCamera(1280);
      if (round !== this.round) return stream.getTracks().forEach((track) => track.stop());
      this.stream = stream;
      stream.getVideoTracks()[0].addEventListener("ended", () => this.stop("The camera stopped. Was it unplugged?", true));
      this.video.srcObject = stream;
      await this.video.play();
      this.buttons(true);
      this.find(".take").focus();
      say(this.status, "Look into the camera, then take the picture.");
    } catch (error) {
      if (round !== this.round) return; // a picture came meanwhile
      this.stop();
      say(this.status, `${whyNoCamera(error)} You can choose a picture instead.`, "problem");
    }
  }

  stop(text = "", withFocus = false) {
    const wasFilming = Boolean(this.stream);
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = this.video.srcObject = null;
    this.buttons(false);
    if (text) say(this.status, text);
    if (wasFilming && withFocus) this.find(".start").focus();
  }

  async take() {
    const canvas = document.createElement("canvas");
    canvas.width = this.video.videoWidth;
    canvas.height = this.video.videoHeight;
    canvas.getContext("2d").drawImage(this.video, 0, 0); // not mirrored
    const picture = await asJpeg(canvas);
    this.stop("", true);
    await this.give(picture, "Take another");
  }
}

const slots = [...form.querySelectorAll(".slot")].map((element) => new Slot(element));

// Says which pictures are still needed.
function lack() {
  if (slots.every((slot) => !slot.picture && !slot.refused)) return "Both pictures are missing.";
  const said = (slot) => (slot.refused ? "did not work. Please choose another one." : "is missing.");
  return slots.filter((slot) => !slot.picture).map((slot) => `The ${slot.name} picture ${said(slot)}`).join(" ");
}

async function compare() {
  await Promise.all(slots.map((slot) => slot.looking));
  const missing = slots.find((slot) => !slot.picture);
  if (missing) {
    say(working, lack(), "problem");
    missing.find(missing.stream ? ".take" : "input").focus();
    return;
  }
  const fields = Object.fromEntries(slots.map((slot) => [slot.name, slot.picture]));
  const answer = await (await send(form.action, fields, { "X-Part": "result" })).text();
  say(working, "");
  if (slots.some((slot) => slot.picture !== fields[slot.name])) return; // the answer is about replaced pictures
  show(answer);
  document.getElementById("verdict").focus({ preventScroll: true });
  result.scrollIntoView({ block: "start" });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (submit.ariaDisabled === "true") return;
  submit.ariaDisabled = "true";
  say(working, "Comparing …", "busy");
  try {
    await compare();
  } catch (error) {
    const slot = slots[error.picture];
    say(working, slot ? "" : error.message, slot ? "" : "problem");
    if (slot) say(slot.status, error.message, "problem");
  } finally {
    submit.ariaDisabled = "false";
  }
});

addEventListener("pagehide", () => slots.forEach((slot) => slot.stop()));
