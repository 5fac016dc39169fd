"use strict";
// Sorting is an extra: without this script every table is still whole and readable.
function sortKey(row, column) {
  const cell = row.cells[column];
  const text = cell.classList.contains("num") && cell.title ? cell.title : cell.textContent.trim();
  if (!cell.classList.contains("num")) return text;
  const number = Number(text.replace(/,/g, "").replace("\u2212", "-"));
  return cell.classList.contains("why") || Number.isNaN(number) ? null : number;
}
function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}
function sortTable(table, column, header) {
  const down = header.getAttribute("aria-sort") === "descending";
  const direction = down ? 1 : -1;
  const rows = Array.from(table.tBodies[0].rows, (row) => ({ row, key: sortKey(row, column) }));
  // A missing value has no rank: it stays at the end in both directions.
  rows.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
    return direction * compare(a.key, b.key);
  });
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "ascending" : "descending");
  table.tBodies[0].append(...rows.map((item) => item.row));
}
for (const table of document.querySelectorAll("main table")) {
  Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort the rows shown";
    button.textContent = header.textContent;
    header.replaceChildren(button);
    button.addEventListener("click", () => sortTable(table, column, header));
  });
}
// What is folded away on the screen belongs on paper.
let opened = [];
window.addEventListener("beforeprint", () => {
  opened = Array.from(document.querySelectorAll("details:not([open])"));
  for (const details of opened) details.open = true;
});
window.addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
});
