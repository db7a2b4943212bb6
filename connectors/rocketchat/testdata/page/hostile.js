// Ways in which a page is hostile to a script.
"use strict";

// unreadable makes a property throw when it is read, until the clock has this time.
function unreadable(object, name, until = Infinity) {
  let value = object[name];
  Object.defineProperty(object, name, {
    get() {
      if (clock.now < until) throw new Error(`${name} is not readable`);
      return value;
    },
    set(to) { value = to; },
  });
}

// readOnly makes a property of the page that cannot be replaced.
function readOnly(name, value) { Object.defineProperty(window, name, {value}); }

// noSetter makes a property of the page that can be read only, and throws on other uses.
function noSetter(name, value) { Object.defineProperty(window, name, {get: () => value}); }

// alwaysNew makes a function of the page another one at each access.
function alwaysNew(name) {
  const real = window[name];
  Object.defineProperty(window, name, {get: () => (...all) => real(...all)});
}

// opaque wraps a function of the page so that its properties cannot be read.
function opaque(name, ...properties) {
  const real = window[name];
  window[name] = (...all) => real(...all);
  for (const property of properties) unreadable(window[name], property);
}

// hasElement adds an element to the page.
function hasElement(tag, attributes) { document.body.append(Object.assign(document.createElement(tag), attributes)); }

// unwilling returns an object that throws whatever one does with it.
function unwilling() {
  const no = () => { throw new Error("unwilling"); };
  return new Proxy({}, {get: no, has: no, getOwnPropertyDescriptor: no, getPrototypeOf: no, ownKeys: no});
}
