"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const parsed = (id) => JSON.parse($(id).textContent);
  const entries = parsed("entries");
  const data = parsed("data");

  // Sorting: the value of a cell is in data-v; numbers where all are, no value always last; each group of rows by itself.
  const cellOf = (row, column) => row.cells[column].dataset.v ?? "";
  function sort(table, head) {
    const column = head.cellIndex;
    const button = head.querySelector("button");
    const now = head.getAttribute("aria-sort");
    const way = now === "none" ? button.dataset.first : now === "ascending" ? "descending" : "ascending";
    for (const other of head.parentNode.cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", way);
    const sign = way === "ascending" ? 1 : -1;
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
      const numeric = rows.every((row) => cellOf(row, column) === "" || !Number.isNaN(Number(cellOf(row, column))));
      const compare = (a, b) => {
        const [x, y] = [cellOf(a, column), cellOf(b, column)];
        if (x === "" || y === "") return (x === "") - (y === "");
        if (!numeric) return sign * (x < y ? -1 : x > y ? 1 : 0);
        const difference = Number(x) - Number(y);
        return Number.isNaN(difference) ? 0 : sign * difference;
      };
      body.append(...rows.sort(compare));
    }
    $("sorted").textContent = `Sorted by ${button.firstChild.textContent.trim()}, ${way}`;
  }
  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      head.querySelector("button")?.addEventListener("click", () => sort(table, head));
    }
  }

  // Filtering: everything that belongs to an entry of the board follows.
  function visible() {
    const words = $("words").value.toLowerCase().split(/[\s,]+/).filter(Boolean);
    const roles = new Set([...document.querySelectorAll("input[name=role]:checked")].map((box) => box.value));
    return entries.map(({ name, role }) => roles.has(role) && (!words.length || words.some((word) => name.toLowerCase().includes(word))));
  }
  function filter() {
    const shown = visible();
    for (const part of document.querySelectorAll("[data-entry]")) part.classList.toggle("off", !shown[part.dataset.entry]);
    for (const group of document.querySelectorAll("tr.group")) {
      group.classList.toggle("off", !group.parentNode.querySelector("tr[data-entry]:not(.off)"));
    }
    $("count").textContent = `${shown.filter(Boolean).length} of ${entries.length} shown`;
  }
  $("filter").hidden = false;
  $("filter").addEventListener("input", filter);
  $("filter").addEventListener("submit", (event) => event.preventDefault());

  if (data) browse();
  filter();

  // The sample browser.
  function browse() {
    const methods = entries.map((entry, i) => i).filter((i) => entries[i].role === "method");
    const ranked = methods.length ? methods : entries.map((entry, i) => i);
    const uri = (picture) => `data:${data.mime};base64,${picture}`;
    let order = [];
    let chosen = null;

    const option = (select, value, text) => select.append(new Option(text, value));
    data.metrics.forEach((metric, k) => option($("metric"), k, metric.name));
    option($("whose"), "all", "all methods");
    entries.forEach((entry, i) => option($("whose"), i, entry.name));

    const score = (sample, i, k) => sample.scores[k]?.[i] ?? null;
    function told(value, k) {
      const metric = data.metrics[k];
      return value === null ? "–" : `${value.toFixed(metric.decimals)} ${metric.unit}`.trim();
    }
    const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
    function standing(sample, k, whose) {
      const among = whose === "all" ? ranked : [Number(whose)];
      const values = among.map((i) => score(sample, i, k)).filter((value) => value !== null);
      if (!values.length) return null;
      const middle = mean(values);
      return { mean: middle, spread: Math.sqrt(mean(ranked.map((i) => score(sample, i, k)).filter((v) => v !== null).map((v, _, all) => (v - mean(all)) ** 2))) };
    }

    function arrange() {
      const k = Number($("metric").value || 0);
      const by = $("order").value;
      const at = data.samples.map((sample) => standing(sample, k, $("whose").value));
      const better = data.metrics[k]?.higher ? 1 : -1;
      const key = { worst: (s) => better * s.mean, best: (s) => -better * s.mean, disputed: (s) => -s.spread }[by];
      order = data.samples.map((sample, i) => i);
      if (key) order.sort((a, b) => (!at[a] || !at[b] ? !at[a] - !at[b] : key(at[a]) - key(at[b])) || a - b);
      $("whose").disabled = by === "disputed" || by === "name";
      $("list").replaceChildren(...order.map((i) => {
        const sample = data.samples[i];
        const button = document.createElement("button");
        button.type = "button";
        button.dataset.sample = i;
        const picture = sample.target ?? sample.source;
        if (picture) button.append(image(uri(picture), ""));
        const value = at[i] && (by === "disputed" ? `±${at[i].spread.toFixed(data.metrics[k].decimals)}` : at[i].mean.toFixed(data.metrics[k].decimals));
        button.append(value || sample.id.split("/").pop());
        button.setAttribute("aria-label", `Sample ${sample.id}${value ? `, ${data.metrics[k].name} ${value}` : ""}`);
        button.addEventListener("click", () => choose(i));
        return button;
      }));
      $("list").scrollLeft = 0;
      choose(order[0]);
    }

    function image(source, alt) {
      const made = new Image();
      made.src = source;
      made.alt = alt;
      made.decoding = "async";
      return made;
    }

    function choose(i) {
      chosen = i;
      for (const button of $("list").children) button.setAttribute("aria-pressed", String(Number(button.dataset.sample) === i));
      const sample = data.samples[i];
      const scene = sample.scene && sample.scene !== sample.id ? `, ${sample.scene}` : "";
      $("chosen").textContent = `Sample ${order.indexOf(i) + 1} of ${order.length}: ${sample.id}${scene}`;
      show();
      tiles();
    }
    function step(by) {
      const next = order[(order.indexOf(chosen) + by + order.length) % order.length];
      choose(next);
      $("list").querySelector("[aria-pressed=true]").scrollIntoView({ block: "nearest", inline: "nearest" });
    }

    // The large picture: two of the sample's pictures, the left one over the right one up to the edge.
    const sides = [...entries.map((entry, i) => [String(i), entry.name]), ["target", "target"], ["source", "source"]];
    for (const side of ["left", "right"]) for (const [value, name] of sides) option($(side), value, name);
    const has = (value) => data.samples.some((sample) => picked(sample, value));
    const picked = (sample, value) => (value === "target" || value === "source" ? sample[value] : sample.images[value]);
    $("left").value = String([...ranked, ...entries.keys()].find((i) => has(String(i))) ?? "source");
    $("right").value = has("target") ? "target" : "source";
    const nameOf = (value) => sides.find(([side]) => side === value)[1];

    function show() {
      const sample = data.samples[chosen];
      for (const [part, side] of [["over", "left"], ["under", "right"]]) {
        const picture = picked(sample, $(side).value);
        $(part).src = picture ? uri(picture) : "data:,";
        $(part).alt = picture ? `${nameOf($(side).value)}, sample ${sample.id}` : `no picture of ${nameOf($(side).value)}`;
        $(part).classList.toggle("off", !picture);
      }
      $("numbers").replaceChildren(...data.metrics.map((metric, k) => {
        const row = document.createElement("tr");
        const name = document.createElement("th");
        name.scope = "row";
        name.textContent = metric.name;
        row.append(name);
        for (const side of ["left", "right"]) {
          const cell = row.insertCell();
          cell.className = "num";
          cell.textContent = told(score(sample, $(side).value, k), k);
        }
        return row;
      }));
      for (const tile of $("tiles").children) tile.setAttribute("aria-pressed", String(tile.dataset.side === $("left").value));
    }
    function swipe() {
      const share = Number($("swipe").value);
      $("over").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
      $("edge").style.left = `${share}%`;
      $("swipe").setAttribute("aria-valuetext", `${share} % ${nameOf($("left").value)}, ${100 - share} % ${nameOf($("right").value)}`);
    }
    $("stage").style.width = `${$("stage").dataset.width}px`;
    $("under").addEventListener("load", () => {
      const sharp = $("under").naturalWidth < $("stage").clientWidth;
      for (const part of ["over", "under"]) $(part).classList.toggle("sharp", sharp);
    });
    let held = false;
    function follow(event) {
      const box = $("stage").getBoundingClientRect();
      $("swipe").value = Math.round((100 * (event.clientX - box.left)) / box.width);
      swipe();
    }
    $("stage").addEventListener("pointerdown", (event) => { held = true; $("stage").setPointerCapture(event.pointerId); follow(event); });
    $("stage").addEventListener("pointermove", (event) => { if (held) follow(event); });
    for (const end of ["pointerup", "pointercancel"]) $("stage").addEventListener(end, () => { held = false; });

    // The small pictures: all methods side by side.
    function tiles() {
      const sample = data.samples[chosen];
      const k = Number($("metric").value || 0);
      const errors = document.querySelector("input[name=show]:checked").value === "errors";
      const better = data.metrics[k]?.higher ? -1 : 1;
      let places = [...entries.keys()].filter((i) => sample.images[i]);
      if ($("tile-order").value === "score") {
        const at = (i) => score(sample, i, k);
        places.sort((a, b) => (at(a) === null || at(b) === null ? (at(a) === null) - (at(b) === null) : better * (at(a) - at(b))));
      }
      const made = ["source", "target"].filter((part) => sample[part]).map((part) => tile(part, part, sample[part], part === "source" ? "what is given" : "the truth", false));
      for (const i of places) {
        const picture = errors ? sample.errors[i] : sample.images[i];
        if (!picture) continue;
        const shown = tile(String(i), entries[i].name, picture, data.metrics.length ? told(score(sample, i, k), k) : "", errors);
        shown.dataset.entry = i;
        made.push(shown);
      }
      $("tiles").replaceChildren(...made);
      $("scale").hidden = !errors;
      filter();
      show();
    }
    function tile(side, name, picture, text, error) {
      const button = document.createElement("button");
      const shown = image(uri(picture), "");
      const title = document.createElement("b");
      const line = document.createElement("span");
      button.type = "button";
      button.dataset.side = side;
      button.className = side === "source" || side === "target" ? "tile reference" : "tile";
      button.title = name;
      shown.classList.toggle("error", error);
      title.textContent = name;
      line.textContent = text;
      button.append(shown, title, line);
      button.addEventListener("click", () => { $("left").value = side; show(); swipe(); });
      return button;
    }

    for (const id of ["order", "metric", "whose"]) $(id).addEventListener("change", arrange);
    for (const id of ["left", "right"]) $(id).addEventListener("change", () => { show(); swipe(); });
    $("swipe").addEventListener("input", swipe);
    $("tile-order").addEventListener("change", tiles);
    for (const radio of document.querySelectorAll("input[name=show]")) radio.addEventListener("change", tiles);
    $("previous").addEventListener("click", () => step(-1));
    $("next").addEventListener("click", () => step(1));
    $("browser").hidden = false;
    arrange();
    swipe();
  }
})();
