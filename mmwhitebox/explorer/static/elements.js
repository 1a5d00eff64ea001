// Elements of the page: found, made, copied from a template. Texts are always set as texts.
export function byId(id) {
  return document.getElementById(id);
}

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function fromTemplate(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}

// The choices of a select, [value, text] each; they stay as they are while they are the same.
export function fillOptions(select, options) {
  const key = options.join('\n');
  if (select.filledWith !== key) {
    select.filledWith = key;
    select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  }
}
