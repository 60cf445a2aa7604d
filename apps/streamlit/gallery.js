// Thumbnails with names, of which one can be pressed. Names come as data and are written as text.

function entryOf({ id, label, src, note }, press) {
  const button = document.createElement(press ? "button" : "div");
  button.className = "entry";
  if (press) button.type = "button";
  button.dataset.id = id;
  const picture = document.createElement(src ? "img" : "span");
  if (src) {
    picture.src = src;
    picture.alt = "";
    picture.loading = "lazy";
  } else {
    picture.className = "nothing";
    picture.textContent = "no photo";
  }
  const name = document.createElement("span");
  name.className = "name";
  name.textContent = name.title = label;
  button.append(picture, name);
  if (note) {
    const small = document.createElement("span");
    small.className = "note";
    small.textContent = note;
    button.append(small);
  }
  if (press) button.addEventListener("click", () => press(id));
  return button;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const place = parentElement.querySelector(".gallery");
  if (!place || !data) return;
  place.setAttribute("role", "group");
  place.setAttribute("aria-label", data.label);
  place.classList.toggle("low", Boolean(data.low));
  const entries = data.entries.map((entry) => [entry.id, entry.label, entry.note, entry.src.length]);
  const shown = JSON.stringify([Boolean(data.idle), entries]);
  if (place.dataset.shown !== shown) {
    place.dataset.shown = shown;
    const press = data.idle ? null : (id) => place.press(id);
    place.replaceChildren(...data.entries.map((entry) => entryOf(entry, press)));
  }
  const mark = (chosen) => {
    for (const button of place.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.dataset.id === chosen));
  };
  place.press = (id) => {
    mark(id);
    setTriggerValue("pressed", id);
  };
  mark(data.chosen);
}
