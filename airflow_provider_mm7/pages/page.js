(function () {
  "use strict";
  var root = document.documentElement;
  // Airflow keeps what its user chose here; without a choice the browser's own preference counts.
  function theme() {
    var chosen = null;
    try { chosen = localStorage.getItem("theme"); } catch (error) { /* no storage, no choice */ }
    root.dataset.theme = chosen === "light" || chosen === "dark" ? chosen : "";
  }
  theme();
  addEventListener("storage", theme);
  if (parent === window) { return; }
  root.dataset.framed = "";
  // Airflow's frame lets no link out of it; one of Airflow's own document leads there.
  addEventListener("click", function (event) {
    var link = event.target.closest ? event.target.closest("a[data-airflow]") : null;
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) { return; }
    event.preventDefault();
    var way = parent.document.createElement("a");
    way.href = link.href;
    parent.document.body.append(way);
    way.click();
    way.remove();
  });
})();
