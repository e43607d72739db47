// The handset page: turns slides, sends what a person does on a phone, and looks for news.
// Pages are merged as parsed documents: no text of a message is ever made into markup here.
"use strict";

const PERIOD_MS = 1500;
const MAX_PICTURE_BYTES = 5000000;

document.documentElement.classList.add("js");

// --- slides ----------------------------------------------------------------------------------------------------------

function turn(show, step) {
  const slides = [...show.querySelectorAll(":scope > .slide")];
  const now = slides.findIndex((slide) => slide.classList.contains("now"));
  const next = Math.min(Math.max(now + step, 0), slides.length - 1);
  if (next === now) return;
  for (const medium of slides[now].querySelectorAll("audio, video")) medium.pause();
  slides[now].classList.remove("now");
  slides[next].classList.add("now");
  show.querySelector(".place").textContent = `${next + 1} of ${slides.length}`;
  const [previous, following] = show.querySelectorAll("[data-step]");
  previous.setAttribute("aria-disabled", String(next === 0));
  following.setAttribute("aria-disabled", String(next === slides.length - 1));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-step]");
  if (button) turn(button.closest(".slides"), Number(button.dataset.step));
});

const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -1000, End: 1000 };

document.addEventListener("keydown", (event) => {
  const show = event.target.closest(".slides[tabindex]");
  // Sound and film have arrow keys of their own.
  if (!show || !(event.key in STEPS) || event.target.matches("audio, video, a")) return;
  event.preventDefault();
  turn(show, STEPS[event.key]);
});

// --- orders ----------------------------------------------------------------------------------------------------------

function base64Of(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error("the picture cannot be read"));
    reader.readAsDataURL(file);
  });
}

async function reply(form) {
  const field = form.elements;
  const order = { sender: field.sender.value, recipient: field.recipient.value.trim() };
  if (field.linked_id.value) order.linked_id = field.linked_id.value;
  if (field.text.value) order.text = field.text.value;
  const file = field.picture.files[0];
  if (file) {
    if (file.size > MAX_PICTURE_BYTES) throw new Error("the picture is larger than 5 MB");
    order.media = [{ content_type: file.type || "application/octet-stream", base64: await base64Of(file) }];
  }
  if (!order.text && !order.media) throw new Error("write something, or choose a picture");
  return order;
}

async function report(form) {
  const field = form.elements;
  const chosen = field.mm_status.selectedOptions[0];
  return {
    message_id: field.message_id.value,
    recipient: field.recipient.value,
    mm_status: chosen.value,
    read_reply: "readReply" in chosen.parentElement.dataset,
  };
}

const ORDERS = { deliver: reply, report };

function answered(entry) {
  const last = entry.attempts.at(-1) ?? {};
  if (entry.state === "acknowledged") return "acknowledged";
  const said = last.error ?? (last.status_code ? `status ${last.status_code}` : `HTTP ${last.http_status ?? "-"}`);
  return `${entry.state === "scheduled" ? "not acknowledged, comes again" : entry.state}: ${said}`;
}

async function send(form) {
  const order = await ORDERS[form.dataset.order](form);
  const answer = await fetch(`/_sandbox/${form.dataset.order}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(order),
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error ?? `HTTP ${answer.status}`);
  if (form.dataset.order === "deliver") {
    form.elements.text.value = "";
    form.elements.picture.value = "";
  }
  return said;
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!(form.dataset.order in ORDERS)) return;
  event.preventDefault();
  const button = form.querySelector("button");
  const output = form.querySelector("output");
  button.disabled = true;
  output.className = "";
  output.textContent = "…";
  try {
    const entry = await send(form);
    output.textContent = answered(entry);
    output.className = entry.state === "acknowledged" ? "good" : "bad";
  } catch (error) {
    output.textContent = error.message;
    output.className = "bad";
  } finally {
    button.disabled = false;
    look();
  }
});

// A line break is Shift+Enter, as in every messenger.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || !event.target.matches(".compose textarea")) return;
  event.preventDefault();
  event.target.form.requestSubmit();
});

// --- news ------------------------------------------------------------------------------------------------------------

let version = document.documentElement.dataset.version;
let looking = false;

// A document parsed by the browser's own loader: nothing in it runs, and no text passes through a parser of ours.
function page() {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", location.pathname + location.search);
    request.responseType = "document";
    request.setRequestHeader("If-None-Match", version);
    request.onload = () => (request.status === 200 ? resolve(request.responseXML) : resolve(null));
    request.onerror = reject;
    request.send();
  });
}

function same(mine, fresh, selector) {
  const [old, news] = [mine.querySelector(selector), fresh.querySelector(selector)];
  if (old && news && !old.isEqualNode(news)) old.replaceWith(document.adoptNode(news));
}

// Puts the children of `fresh` in their order into `mine`; those that are there already are kept, and told of.
function mergeChildren(mine, fresh, kept) {
  const wanted = [...fresh.children];
  const ids = new Set(wanted.map((child) => child.id));
  for (const child of [...mine.children]) if (!ids.has(child.id) && !busy(child)) child.remove();
  wanted.forEach((child, index) => {
    const known = child.id && document.getElementById(child.id);
    if (known) kept(known, child);
    const place = mine.children[index] ?? null;
    if (!known) mine.insertBefore(document.adoptNode(child), place);
  });
}

// Nothing is taken out of somebody's hands.
function busy(element) {
  const text = element.querySelector?.("textarea");
  return element.contains(document.activeElement) || Boolean(text && text.value);
}

function mergePhone(mine, fresh) {
  const thread = mine.querySelector(".thread");
  const low = thread.scrollHeight - thread.scrollTop - thread.clientHeight < 40;
  const before = thread.lastElementChild;
  mergeChildren(thread, fresh.querySelector(".thread"), (old, news) => same(old, news, ".told"));
  if (low || thread.lastElementChild?.classList.contains("out")) {
    if (thread.lastElementChild !== before) down(thread);
  }
  for (const name of ["linked_id", "recipient"]) {
    const [old, news] = [mine, fresh].map((one) => one.querySelector(`.compose [name="${name}"]`));
    if (!old || !news || old.value !== old.defaultValue || old === document.activeElement) continue;
    old.defaultValue = news.defaultValue;
    old.value = news.defaultValue;
  }
}

function down(thread) {
  thread.scrollTop = thread.scrollHeight;
}

async function look() {
  if (looking || document.hidden) return;
  looking = true;
  try {
    const fresh = await page();
    if (!fresh) return;
    version = fresh.documentElement.dataset.version;
    const wall = document.getElementById("phones");
    mergeChildren(wall, fresh.getElementById("phones"), mergePhone);
    same(document, fresh, "#facts");
    same(document, fresh, "#strays");
    for (const thread of wall.querySelectorAll(".thread:not([data-seen])")) settle(thread);
  } catch {
    // The sandbox is away; it is looked for again.
  } finally {
    looking = false;
  }
}

// A new phone shows its latest message; pictures that come later push it down.
function settle(thread) {
  thread.dataset.seen = "";
  down(thread);
  thread.addEventListener("load", (event) => event.target.matches("img") && down(thread), { capture: true });
}

for (const thread of document.querySelectorAll(".thread")) settle(thread);
setInterval(look, PERIOD_MS);
document.addEventListener("visibilitychange", look);
