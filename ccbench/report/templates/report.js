"use strict";
(() => {
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const heads = all("thead th", table);

  // Sorting: the better end first, empty cells last; a second press turns it round.
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.sort === undefined ? cell.textContent.trim() : cell.dataset.sort;
  };
  const sort = (column) => {
    const head = heads[column], direction = head.dataset.direction;
    const now = head.getAttribute("aria-sort");
    const first = direction === "up" ? "descending" : "ascending";
    const next = now === "none" ? first : now === "ascending" ? "descending" : "ascending";
    const number = head.classList.contains("number");
    const value = (row) => (direction === "zero" ? Math.abs(+key(row, column)) : +key(row, column));
    const order = (a, b) => (number ? value(a) - value(b) : key(a, column).localeCompare(key(b, column)));
    const rows = [...body.rows];
    const full = rows.filter((row) => key(row, column) !== ""), empty = rows.filter((row) => key(row, column) === "");
    full.sort((a, b) => (next === "ascending" ? order(a, b) : order(b, a)));
    body.append(...full, ...empty);
    heads.forEach((one) => one.setAttribute("aria-sort", one === head ? next : "none"));
    document.getElementById("said").textContent = `sorted by ${head.textContent.trim()}, ${next}`;
  };
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sort(column)));

  // Which group of metrics the table shows.
  const show = (group) => {
    all("[data-group]", table).forEach((cell) => { cell.hidden = cell.dataset.group !== group; });
    all("button.group").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.group === group)));
  };
  all("button.group").forEach((button) => {
    if (!all(`[data-group="${button.dataset.group}"]`, table).length) button.hidden = true;
    button.addEventListener("click", () => show(button.dataset.group));
  });
  show("main");

  // Sliders between two images.
  const slide = (input) => {
    const value = +input.value;
    input.closest("figure").querySelector(".compare").style.setProperty("--split", `${value}%`);
    const { before, after } = input.dataset;
    input.setAttribute("aria-valuetext", value === 0 ? `all ${before}` : value === 100 ? `all ${after}` : `${value}% ${after}`);
  };
  all(".slide input").forEach((input) => input.addEventListener("input", () => slide(input)));
  const every = document.getElementById("all");
  if (every) {
    every.addEventListener("input", () => {
      all("#gallery .slide input").forEach((input) => { input.value = every.value; slide(input); });
    });
  }
  all(".outlines").forEach((box) => {
    box.addEventListener("change", () => box.closest("section").classList.toggle("outlined", box.checked));
  });

  // Theme: of the system, light, dark.
  const names = { auto: "system", light: "light", dark: "dark" }, turn = { auto: "light", light: "dark", dark: "auto" };
  const theme = document.getElementById("theme");
  theme.addEventListener("click", () => {
    const next = turn[document.documentElement.dataset.theme];
    document.documentElement.dataset.theme = next;
    theme.textContent = `Theme: ${names[next]}`;
  });
  document.getElementById("print").addEventListener("click", () => window.print());
  addEventListener("beforeprint", () => all("details").forEach((one) => { one.dataset.was = one.open; one.open = true; }));
  addEventListener("afterprint", () => all("details").forEach((one) => { one.open = one.dataset.was === "true"; }));
})();
