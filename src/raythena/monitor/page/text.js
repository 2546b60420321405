/* What the page of a task and a report share: foreign text is put in as text, never as markup. */
"use strict";

const element = (id) => document.getElementById(id);

/* Foreign text as it may be shown: control and direction characters become visible signs. */
function shown(text) {
  return String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (sign) => "[U+" + sign.charCodeAt(0).toString(16).padStart(4, "0").toUpperCase() + "]");
}

function make(kind, text, parent, name) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = shown(text);
  if (name) made.className = name;
  if (parent) parent.append(made);
  return made;
}

const whole = (number) => Math.round(number).toLocaleString("en");
