
"use strict";
// Builds the parts of the page that can be sorted, filtered and chosen from the data in #data.
//
// Everything in the data may have been chosen by those who were watched. So there is no HTML in strings here: elements are made
// one by one, and texts are set as text. Styles are classes, because the page's policy has no room for others.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const numbers = new Map(Object.entries(data.numbers).map(([index, number]) => [Number(index), number]));
  const titles = { denied: "denied", rewritten: "rewritten", "would-deny": "would deny", "would-rewrite": "would rewrite", allowed: "allowed", unknown: "unknown" };
  const string = (index) => (index === null ? "" : data.strings[index]);
  const sum = (counts) => counts.reduce((total, count) => total + count, 0);
  const formatted = (number) => number.toLocaleString("en-US");

  // ---- Elements

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children);
    return element;
  }
  const html = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
  const svg = (name, attributes = {}, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
  const content = (section) => document.getElementById(`${section}-content`);

  function swatch(outcome) {
    return svg("svg", { class: "swatch", viewBox: "0 0 14 14", "aria-hidden": "true" },
      svg("rect", { width: 14, height: 14, class: `fill-${outcome}` }));
  }

  // A moment in UTC, with as much of it as a step on an axis needs.
  function moment(time, step = 1) {
    const text = new Date(time).toISOString().replace("T", " ");
    const date = text.slice(0, text.indexOf(" ")), clock = text.slice(text.indexOf(" ") + 1, -1);
    if (step >= 86400000) return date;
    return `${date} ${step >= 60000 ? clock.slice(0, 5) : step >= 1000 ? clock.slice(0, 8) : clock}`;
  }
  function momentElement(time) {
    return time === null ? "" : html("time", { datetime: new Date(time).toISOString() }, moment(time));
  }

  function table(id, caption, columns, rows, attributes = {}) {
    const head = columns.map(([title, isNumber]) => html("th", { scope: "col", class: isNumber ? "number" : null }, title));
    const made = html("table", { id, ...attributes },
      html("caption", { id: `${id}-caption` }, caption),
      html("thead", {}, html("tr", {}, ...head)),
      html("tbody", {}, ...rows));
    return html("div", { class: "scroll", role: "region", "aria-labelledby": `${id}-caption`, tabindex: "0" }, made);
  }
  const numberCell = (number) =>
    html("td", { class: number === 0 ? "number none" : "number", "data-key": number }, formatted(number));

  // Gives each column of a table a button that sorts by it, by numbers where cells have them: largest first.
  function makeSortable(table) {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    const key = (row, column) => {
      const cell = row.cells[column];
      return cell.dataset.key === undefined ? cell.textContent : cell.dataset.key === "" ? -Infinity : Number(cell.dataset.key);
    };
    const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
    heads.forEach((head, column) => {
      const button = html("button", { type: "button" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const rows = [...body.rows];
        const isNumber = rows.length > 0 && rows[0].cells[column].dataset.key !== undefined;
        const before = head.getAttribute("aria-sort");
        const direction = before === null ? (isNumber ? -1 : 1) : before === "ascending" ? -1 : 1;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
        rows.sort((a, b) => direction * compare(key(a, column), key(b, column)));
        body.append(...rows);
      });
    });
  }

  // ---- Axes

  const STEPS = [1, 5, 10, 50, 100, 500, 1e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5, 18e5, 36e5, 108e5, 216e5, 432e5, 864e5];

  // Round moments between two, at most so many.
  function timeTicks(from, to, most) {
    let step = STEPS.find((step) => (to - from) / step <= most) ?? 864e5;
    while ((to - from) / step > most) step *= 2;
    const ticks = [];
    for (let time = Math.ceil(from / step) * step; time <= to; time += step) ticks.push(time);
    return { ticks, step };
  }

  function timeAxis(from, to, x, y, width) {
    const { ticks, step } = timeTicks(from, to, Math.max(1, Math.floor(width / 150)));
    const label = (time) => {
      const isFirst = time === ticks[0], text = moment(time, step);
      // The day is said once, unless there are several.
      return isFirst || to - from > 864e5 ? text : text.slice(11);
    };
    return ticks.flatMap((time) => [
      svg("line", { class: "grid", x1: x(time), x2: x(time), y1: y, y2: y + 5 }),
      svg("text", { x: x(time), y: y + 18, "text-anchor": x(time) < 60 ? "start" : x(time) > width - 20 ? "end" : "middle" }, label(time)),
    ]);
  }

  // The least of 1, 2, 4, 6, 8, 10, 20, … that is not less.
  function roundUp(number) {
    const power = 10 ** Math.floor(Math.log10(Math.max(1, number)));
    return [1, 2, 4, 6, 8, 10].map((factor) => factor * power).find((round) => round >= number);
  }

  // Draws now, and again when there is more or less room.
  function drawn(figure, label, draw) {
    let width = 0;
    const redraw = (always) => {
      const now = Math.max(300, figure.clientWidth);
      if (now === width && !always) return;
      width = now;
      const chart = draw(width);
      fill(chart, { class: "chart", role: "img", "aria-label": label() }, []);
      figure.replaceChildren(chart);
    };
    window.addEventListener("resize", () => redraw(false));
    redraw(true);
    return () => redraw(true);
  }

  // ---- Events over time

  function showTimeline() {
    const { first, width: step, buckets } = data.timeline;
    if (buckets.length === 0) return content("timeline").append(html("p", {}, "No event has a time."));
    const time = (bucket) => (first + bucket[0]) * step;
    const from = time(buckets[0]), to = time(buckets.at(-1)) + step;
    const present = data.outcomes.map((name, index) => ({ name, index })).filter(({ index }) => buckets.some((bucket) => bucket[1][index] > 0));
    const hidden = new Set();
    const shown = () => present.filter(({ name }) => !hidden.has(name));
    const unsent = [["suppressed", 2], ["lost", 3]].filter(([, place]) => buckets.some((bucket) => bucket[place] > 0));

    const figure = html("div", { id: "timeline-chart" });
    const legend = html("fieldset", { class: "controls" }, html("legend", {}, "Show"));
    content("timeline").append(legend, figure);
    const draw = (width) => {
      const left = 52, right = 8, top = 8, height = 220, strip = unsent.length > 0 ? 64 : 0;
      const x = (time) => left + ((time - from) / (to - from)) * (width - left - right);
      const most = roundUp(Math.max(1, ...buckets.map((bucket) => sum(shown().map(({ index }) => bucket[1][index])))));
      const y = (count) => top + height * (1 - count / most);
      const chart = svg("svg", { viewBox: `0 0 ${width} ${top + height + strip + 28}` });
      for (const count of most > 1 ? [0, most / 2, most] : [0, most]) {
        chart.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(count), y2: y(count) }),
          svg("text", { x: left - 8, y: y(count) + 4, "text-anchor": "end" }, formatted(count)));
      }
      const bottom = top + height + strip, mostUnsent = Math.max(1, ...buckets.map((bucket) => bucket[2] + bucket[3]));
      if (strip > 0) {
        chart.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: bottom, y2: bottom }),
          svg("text", { x: left, y: top + height + 20 }, `not sent: ${unsent.map(([name]) => name).join(", ")}, at most ${formatted(mostUnsent)} at once`));
      }
      const gap = (width - left - right) / ((to - from) / step) > 4 ? 1 : 0;
      for (const bucket of buckets) {
        const at = x(time(bucket)), wide = Math.max(1, x(time(bucket) + step) - at - gap);
        const column = svg("g", { class: "column" }, svg("rect", { class: "hit", x: at, y: top, width: wide, height: height + strip }));
        const says = [];
        let below = 0;
        for (const { name, index } of shown()) {
          const count = bucket[1][index];
          if (count === 0) continue;
          column.append(svg("rect", { class: `fill-${name}`, x: at, y: y(below + count), width: wide, height: y(below) - y(below + count) }));
          below += count;
          says.push(`${formatted(count)} ${titles[name]}`);
        }
        let under = 0;
        for (const [name, place] of unsent) {
          if (bucket[place] === 0) continue;
          const high = Math.max(1, ((strip - 30) * bucket[place]) / mostUnsent);
          column.append(svg("rect", { class: `fill-${name}`, x: at, y: bottom - under - high, width: wide, height: high }));
          under += high;
          says.push(`${formatted(bucket[place])} ${name}`);
        }
        column.append(svg("title", {}, `${moment(time(bucket), step)}: ${says.join(", ")}`));
        chart.append(column);
      }
      chart.append(...timeAxis(from, to, x, bottom, width));
      return chart;
    };
    const redraw = drawn(figure, () => `Events over time, ${moment(from)} to ${moment(to)} UTC. The table below has the numbers.`, draw);
    for (const { name } of present) {
      const box = html("input", { type: "checkbox", checked: true });
      box.addEventListener("change", () => {
        if (box.checked) hidden.delete(name);
        else hidden.add(name);
        redraw();
      });
      legend.append(html("label", {}, box, swatch(name), titles[name]));
    }
    for (const [name] of unsent) legend.append(html("label", {}, swatch(name), name));

    const columns = [["Time (UTC)"], ...present.map(({ name }) => [titles[name], true]), ...unsent.map(([name]) => [name, true])];
    const rows = buckets.map((bucket) => html("tr", {},
      html("th", { scope: "row", "data-key": time(bucket) }, moment(time(bucket), step)),
      ...present.map(({ index }) => numberCell(bucket[1][index])),
      ...unsent.map(([, place]) => numberCell(bucket[place]))));
    const asTable = table("timeline-table", "Events over time", columns, rows);
    content("timeline").append(html("details", {}, html("summary", {}, "The same as a table"), asTable));
    makeSortable(asTable.firstElementChild);
  }

  // ---- Knobs and workloads

  function showMatrix(chooseKnob) {
    const { knobs, workloads, cells } = data.matrix;
    if (cells.length === 0) return content("matrix").append(html("p", {}, "There are no events."));
    const counted = new Map(cells.map(([row, column, counts]) => [`${row} ${column}`, counts]));
    const hasOther = (place, number) => cells.some((cell) => cell[place] === number);
    const rows = [...knobs.map(string), ...(hasOther(0, knobs.length) ? ["other"] : [])];
    const columns = [...workloads.map(string), ...(hasOther(1, workloads.length) ? ["other"] : [])];
    const withValues = new Set(data.values.map((values) => values.knob));

    const choice = html("select", { id: "matrix-choice" }, html("option", { value: "all" }, "all events"));
    data.outcomes.forEach((name, index) => {
      if (cells.some(([, , counts]) => counts[index] > 0)) choice.append(html("option", { value: String(index) }, titles[name]));
    });
    const place = html("div");
    content("matrix").append(html("p", { class: "controls" }, html("label", {}, "Count", choice)), place);

    const draw = () => {
      const of = (counts) => (counts === undefined ? 0 : choice.value === "all" ? sum(counts) : counts[Number(choice.value)]);
      const most = Math.max(1, ...cells.map(([, , counts]) => of(counts)));
      const heat = (count) => (count === 0 ? 0 : most === 1 ? 3 : 1 + Math.min(4, Math.floor((4 * Math.log(count)) / Math.log(most) + 1e-9)));
      const body = rows.map((name, row) => {
        const counts = columns.map((_, column) => of(counted.get(`${row} ${column}`)));
        const isKnob = row < knobs.length && withValues.has(knobs[row]);
        const button = isKnob ? html("button", { type: "button", class: "link name", title: "Show its values" }, name) : html("span", { class: row < knobs.length ? "name" : null }, name);
        if (isKnob) button.addEventListener("click", () => chooseKnob(knobs[row]));
        return html("tr", {}, html("th", { scope: "row" }, button),
          ...counts.map((count) => html("td", { class: `heat-${heat(count)}` }, count === 0 ? "" : formatted(count))),
          html("td", { class: "total" }, formatted(sum(counts))));
      });
      const caption = `Events by knob and workload: ${choice.selectedOptions[0].textContent}`;
      const heads = [["Knob"], ...columns.map((name) => [html("span", { title: name }, name)]), [html("span", {}, "all")]];
      place.replaceChildren(table("matrix-table", caption, heads, body, { class: "matrix" }));
    };
    choice.addEventListener("change", draw);
    draw();
  }

  // ---- Values of a knob

  // Where on the axis values are: at their size if all are numbers, and else one below the other.
  function scale(values, top, height) {
    const distinct = [...new Set(values)];
    if (distinct.every((value) => numbers.has(value))) {
      const sizes = distinct.map((value) => Number(numbers.get(value))), least = Math.min(...sizes), most = Math.max(...sizes);
      const isWide = least >= 0 && most > 100 * Math.max(1, least);
      const size = (number) => (isWide ? Math.log1p(number) : number);
      const range = size(most) - size(least) || 1;
      const y = (value) => top + height * (1 - (size(Number(numbers.get(value))) - size(least)) / range);
      return { y, label: (value) => formatted(BigInt(numbers.get(value))), distinct: distinct.sort((a, b) => y(a) - y(b)) };
    }
    if (distinct.length > 12) return null;
    const y = (value) => top + (height * (distinct.indexOf(value) + 0.5)) / distinct.length;
    return { y, label: (value) => string(value), distinct };
  }

  // A shape for each outcome, because colours do not suffice.
  function mark(outcome, x, y) {
    const classes = `mark mark-${outcome}`;
    switch (outcome) {
      case "denied": return svg("path", { class: classes, d: `M${x - 4} ${y - 4}l8 8m0 -8l-8 8` });
      case "would-deny": return svg("path", { class: classes, d: `M${x - 5} ${y - 5}h10v10h-10z` });
      case "rewritten": case "would-rewrite": return svg("path", { class: classes, d: `M${x} ${y - 5}l5 9h-10z` });
      default: return svg("circle", { class: classes, cx: x, cy: y, r: 4 });
    }
  }

  function valuesChart(entry, width) {
    // Between the first and the last changes nothing is known, so no line goes through there.
    const parts = entry.left_out > 0 ? [entry.changes.slice(0, entry.first), entry.changes.slice(entry.first)] : [entry.changes];
    const [before, after = []] = parts.map((part) => part.filter((change) => change.time !== null));
    const changes = [...before, ...after];
    const values = changes.flatMap((change) => [change.old, change.new, change.now]).filter((value) => value !== null);
    const top = 12, height = 180, scaled = values.length > 0 ? scale(values, top, height) : null;
    if (scaled === null) return null;
    const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
    const labels = scaled.distinct.map((value) => short(scaled.label(value), width < 500 ? 14 : 26));
    const left = 20 + 7 * Math.max(...labels.map((label) => label.length)), right = 16;
    const times = changes.map((change) => change.time);
    const from = Math.min(...times), to = Math.max(from + 1000, ...times);
    const x = (time) => left + ((time - from) / (to - from)) * (width - left - right);
    const chart = svg("svg", { viewBox: `0 0 ${width} ${top + height + 34}` });
    if (before.length > 0 && after.length > 0) {
      const start = x(Math.max(...before.map((change) => change.time))), end = x(Math.min(...after.map((change) => change.time)));
      if (end > start) chart.append(svg("rect", { class: "gap-area", x: start, y: top, width: end - start, height }));
      if (end > start + 60) chart.append(svg("text", { x: (start + end) / 2, y: top + 16, "text-anchor": "middle" }, "left out"));
    }
    let last = -Infinity;
    scaled.distinct.forEach((value, index) => {
      const y = scaled.y(value);
      if (y - last < 15) return;
      last = y;
      chart.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: y, y2: y }),
        svg("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, labels[index]));
    });
    // Workloads may have namespaces with values of their own, so each has its own line.
    for (const part of [before, after]) {
      for (const workload of new Set(part.map((change) => change.workload))) {
        let path = "", isDrawing = false;
        for (const change of part.filter((change) => change.workload === workload)) {
          for (const value of [change.old, change.now].filter((value) => value !== null)) {
            path += isDrawing ? `H${x(change.time)}V${scaled.y(value)}` : `M${x(change.time)} ${scaled.y(value)}`;
            isDrawing = true;
          }
        }
        chart.append(svg("path", { class: "held", d: path }));
      }
    }
    for (const change of changes) {
      const value = change.write ? change.new : change.old;
      if (value === null) continue;
      const outcome = data.outcomes[change.outcome], shape = mark(outcome, x(change.time), scaled.y(value));
      shape.append(svg("title", {}, `${moment(change.time)}: ${change.write ? "write" : "read"} ${string(value)}, ${titles[outcome]}`));
      chart.append(shape);
    }
    chart.append(...timeAxis(from, to, x, top + height + 8, width));
    return chart;
  }

  function valuesTable(entry) {
    const columns = [["Time (UTC)"], ["Outcome"], ["Access"], ["Was"], ["Written"], ["Now"], ["Workload"], ["Times", true]];
    const rows = entry.changes.map((change) => {
      const outcome = data.outcomes[change.outcome];
      const value = (index) => html("td", {}, html("code", {}, string(index)));
      return html("tr", {},
        html("th", { scope: "row" }, momentElement(change.time)),
        html("td", { class: `outcome ${outcome}` }, titles[outcome]),
        html("td", {}, change.write ? "write" : "read"),
        value(change.old), value(change.new), value(change.now),
        html("td", {}, string(change.workload)), numberCell(change.times));
    });
    if (entry.left_out > 0) {
      const says = `${formatted(entry.left_out)} event${entry.left_out === 1 ? "" : "s"} in between left out`;
      rows.splice(entry.first, 0, html("tr", { class: "gap" }, html("td", { colspan: columns.length }, says)));
    }
    return table("values-table", `Values of ${string(entry.knob)}`, columns, rows);
  }

  function showValues() {
    if (data.values.length === 0) {
      content("values").append(html("p", {}, "No event shows a value."));
      return () => {};
    }
    const changes = (entry) => `${entry.changes.length} change${entry.changes.length === 1 ? "" : "s"}`;
    const byName = [...data.values].sort((a, b) => string(a.knob).localeCompare(string(b.knob)));
    const choice = html("select", { id: "values-choice" }, ...byName.map((entry) => {
      return html("option", { value: String(entry.knob) }, `${string(entry.knob)} (${changes(entry)})`);
    }));
    choice.value = String(data.values[0].knob);
    const figure = html("div", { id: "values-chart" }), legend = html("p", { class: "controls", id: "values-legend" });
    const place = html("div"), says = html("p", { role: "status" });
    content("values").append(html("div", { class: "controls" }, html("label", {}, "Knob", choice), says), figure, legend, place);
    const chosen = () => data.values.find((entry) => String(entry.knob) === choice.value);
    const draw = (width) => valuesChart(chosen(), width) ?? svg("svg", { viewBox: `0 0 ${width} 1` });
    const redraw = drawn(figure, () => `Values of ${string(chosen().knob)} over time. The table below has them.`, draw);
    const show = () => {
      redraw();
      const outcomes = new Set(chosen().changes.map((change) => data.outcomes[change.outcome]));
      const isDrawn = figure.querySelector(".mark") !== null;
      figure.hidden = legend.hidden = !isDrawn;
      legend.replaceChildren(
        ...data.outcomes.filter((name) => outcomes.has(name)).map((name) =>
          html("label", {}, svg("svg", { class: "swatch", viewBox: "0 0 14 14", "aria-hidden": "true" }, mark(name, 7, 7)), titles[name])),
        html("label", {}, svg("svg", { class: "swatch", viewBox: "0 0 14 14", "aria-hidden": "true" }, svg("path", { class: "held", d: "M0 7h14" })), "value held, by workload"));
      place.replaceChildren(valuesTable(chosen()));
      says.textContent = `${changes(chosen())} of ${string(chosen().knob)} shown`;
    };
    choice.addEventListener("change", show);
    show();
    return (knob) => {
      choice.value = String(knob);
      show();
      choice.focus();
      choice.scrollIntoView({ block: "center" });
    };
  }

  // ---- Examples

  function example(found) {
    if (found === null) return html("td", { "data-key": "" });
    const lines = found.lines.map((line) => html("p", {}, html("code", {}, string(line))));
    return html("td", { class: "example", "data-key": found.time ?? "" }, html("p", {}, momentElement(found.time)), ...lines);
  }

  function showExamples() {
    const rows = data.classes.map((group) => {
      const outcome = data.outcomes[group.outcome];
      return html("tr", {},
        html("td", { class: `outcome ${outcome}` }, `${titles[outcome]} ${string(group.errno)}`.trim()),
        html("th", { scope: "row" }, `${group.write ? "write" : "read"} `, html("span", { class: "name" }, string(group.knob))),
        html("td", {}, string(group.workload)), html("td", {}, string(group.rule)),
        numberCell(group.events), example(group.first), example(group.last));
    });
    const columns = [["Outcome"], ["Access"], ["Workload"], ["Rule"], ["Events", true], ["First"], ["Last"]];
    const made = table("examples-table", "Accesses that are alike", columns, rows);

    const filter = html("input", { type: "search", id: "examples-filter", autocomplete: "off", spellcheck: "false" });
    const choice = html("select", { id: "examples-outcome" }, html("option", { value: "" }, "any"));
    data.outcomes.forEach((name, index) => {
      if (data.classes.some((group) => group.outcome === index)) choice.append(html("option", { value: name }, titles[name]));
    });
    const says = html("p", { role: "status" });
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const show = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
      let shown = 0;
      rows.forEach((row, index) => {
        const isShown = (choice.value === "" || data.outcomes[data.classes[index].outcome] === choice.value) && words.every((word) => texts[index].includes(word));
        row.hidden = !isShown;
        shown += isShown ? 1 : 0;
      });
      says.textContent = `${formatted(shown)} of ${formatted(rows.length)} shown`;
    };
    filter.addEventListener("input", show);
    choice.addEventListener("change", show);
    content("examples").append(
      html("div", { class: "controls", role: "search" }, html("label", {}, "With the words", filter), html("label", {}, "Outcome", choice), says), made);
    show();
    makeSortable(made.firstElementChild);
  }

  document.querySelectorAll(".scripted").forEach((element) => { element.hidden = false; });
  showTimeline();
  showMatrix(showValues());
  showExamples();
  document.querySelectorAll("table.sortable").forEach(makeSortable);
})();
