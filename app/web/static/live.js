// SPDX-FileCopyrightText: 2026 The Leasehold contributors
// SPDX-License-Identifier: Apache-2.0
// Says so when the polled block cannot be fetched any more: an old page must not look like a fresh one.
(function () {
  "use strict";
  var failures = 0;
  function show(isLost) {
    var note = document.getElementById("lost");
    if (note) { note.hidden = !isLost; }
  }
  function failed() { failures += 1; show(failures >= 3); }
  document.addEventListener("htmx:sendError", failed);
  document.addEventListener("htmx:responseError", failed);
  document.addEventListener("htmx:timeout", failed);
  document.addEventListener("htmx:afterSwap", function () { failures = 0; show(false); });
})();
