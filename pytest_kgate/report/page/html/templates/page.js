"use strict";
(() => {
  const root = document.documentElement;
  const all = (what, where = document) => [...where.querySelectorAll(what)];
  const tiles = all(".tile"), find = document.getElementById("find"), shown = document.getElementById("shown");
  const sections = document.getElementById("sections"), pack = document.getElementById("pack");
  const bodies = new Map();
  root.classList.add("js");

  // What is chosen by tile and by words: rows of the table and sections alike.
  const choose = () => {
    const verdict = tiles.find((tile) => tile.getAttribute("aria-pressed") === "true")?.dataset.verdict;
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = new Set();
    for (const row of all("#forest tbody tr")) {
      const section = document.getElementById("r" + row.dataset.n);
      const text = `${row.textContent} ${section?.querySelector("summary").textContent ?? ""}`.toLowerCase();
      row.hidden = (verdict && row.dataset.v !== verdict) || !words.every((word) => text.includes(word));
      if (!row.hidden) fits.add(row.dataset.n);
    }
    for (const one of all(".call")) one.hidden = !fits.has(one.dataset.n);
    const total = new Set(all("#forest tbody tr").map((row) => row.dataset.n)).size;
    shown.textContent = verdict || words.length ? `${fits.size} of ${total} calls shown` : "";
  };
  for (const tile of tiles) {
    tile.addEventListener("click", () => {
      const pressed = tile.getAttribute("aria-pressed") === "true";
      for (const other of tiles) other.setAttribute("aria-pressed", "false");
      tile.setAttribute("aria-pressed", String(!pressed));
      choose();
    });
  }
  find?.addEventListener("input", choose);

  // A packed section is a frame; its body is put in when it opens.
  const fill = (one) => {
    const body = one.querySelector(".body");
    if (bodies.has(one.id) && !body.firstChild) body.innerHTML = bodies.get(one.id)();
  };
  const unpack = async () => {
    const bytes = Uint8Array.from(atob(pack.textContent), (one) => one.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const { calls, parts } = await new Response(stream).json();
    sections.innerHTML = calls.map(([frame]) => frame).join("");
    all(".call").forEach((one, place) => bodies.set(one.id, () => calls[place][1].map((part) => parts[part]).join("")));
    choose();
  };
  sections?.addEventListener("toggle", (event) => {
    if (event.target.matches(".call") && event.target.open) fill(event.target);
  }, true);
  const open = (one) => { fill(one); one.open = true; };
  const follow = () => {
    const one = /^#r\d+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
    if (!one) return;
    one.hidden = false;
    open(one);
    one.scrollIntoView();
    one.querySelector("summary").focus({ preventScroll: true });
  };
  addEventListener("hashchange", follow);
  document.getElementById("open")?.addEventListener("click", () => all(".call:not([hidden])").forEach(open));
  document.getElementById("close")?.addEventListener("click", () => all(".call").forEach((one) => { one.open = false; }));

  const plain = (table) => all("tr", table).filter((row) => !row.hidden).map((row) =>
    [...row.cells].map((cell) => (cell.querySelector(".quiet") || cell).textContent.trim().replace(/\s+/g, " ")).join("\t")).join("\n");
  const put = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.body.appendChild(document.createElement("textarea"));
      area.value = text;
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest(".copy");
    if (!button) return;
    const near = button.closest("figure");
    const table = button.dataset.copy ? document.getElementById(button.dataset.copy) : near.querySelector("table");
    const text = button.previousElementSibling?.matches("pre") ? button.previousElementSibling.textContent : plain(table);
    await put(text);
    const label = button.textContent;
    button.textContent = "copied";
    setTimeout(() => { button.textContent = label; }, 1200);
  });

  (pack ? unpack() : Promise.resolve()).then(follow).then(() => { root.dataset.ready = "yes"; });
})();
