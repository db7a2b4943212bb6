// Runs the steps in the page's address, and then shows their result as JSON. A browser that
// cannot wait for a promise can so read the result too.
"use strict";
addEventListener("load", async () => {
  let result;
  try {
    const Steps = (async () => {}).constructor;
    result = await new Steps(decodeURIComponent(location.search.slice(1)))();
  } catch (e) {
    result = {Wrong: [...wrong, "thrown: " + e]};
  }
  document.body.textContent = JSON.stringify(result);
});
