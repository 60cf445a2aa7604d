// Opens the browser's camera, and explains in plain words why it can't: for the notebook's widget and both web apps.

const REFUSALS = {
  NotAllowedError: "The camera is blocked. Allow it in the browser (the icon beside the address), then try again.",
  NotFoundError: "This device has no camera.",
  NotReadableError: "Another program is using the camera.",
  OverconstrainedError: "This device has no suitable camera.",
  NotSupportedError:
    "Browsers share the camera only with pages from this computer (localhost) or over https. " +
    "Open this page one of these ways, for example through an SSH tunnel.",
};

// The camera's stream, about so many pixels wide; without an id, of two cameras the one that faces the person.
export async function openCamera(width, id = "") {
  if (!navigator.mediaDevices) throw new DOMException("", "NotSupportedError");
  const which = id ? { deviceId: { exact: id } } : { facingMode: "user" };
  return navigator.mediaDevices.getUserMedia({ video: { width: { ideal: width }, ...which } });
}

// The cameras of this device, {id, name} each; browsers tell the names only after the camera was allowed.
export async function listCameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  const cameras = devices.filter((device) => device.kind === "videoinput" && device.deviceId);
  return cameras.map(({ deviceId, label }, i) => ({ id: deviceId, name: label || `Camera ${i + 1}` }));
}

// Explains an error of openCamera in a sentence.
export function whyNoCamera(error) {
  return REFUSALS[error.name] ?? `The camera does not start: ${error.message || error.name}.`;
}
