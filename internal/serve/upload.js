"use strict";
// Sends the files that were chosen in the form #upload or dropped on the page,
// one after the other, so that each is whole or not at all.
{
  const form = document.getElementById("upload");
  const input = form.querySelector("input[type=file]"), bar = form.querySelector("progress"), says = form.querySelector("output");
  let busy = false;
  form.querySelector("button").hidden = true; // what is chosen is sent
  const send = (file, progress) => new Promise((done, failed) => {
    const data = new FormData(), request = new XMLHttpRequest();
    data.append("file", file);
    request.open("POST", location.pathname);
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    request.upload.onprogress = (event) => progress(Math.min(event.loaded, file.size));
    request.onload = () => request.status === 201 ? done() : failed((request.response && request.response.error) || `${request.status}: ${request.statusText}`);
    request.onerror = () => failed("the connection broke off");
    request.send(data);
  });
  const sendAll = async (files) => {
    if (busy || files.length === 0) return;
    busy = true;
    const errors = [], total = files.reduce((sum, file) => sum + file.size, 0);
    let sent = 0;
    bar.hidden = false;
    bar.max = Math.max(total, 1);
    for (const [i, file] of files.entries()) {
      says.textContent = `${i + 1} of ${files.length}: ${file.name}`;
      bar.value = sent;
      await send(file, (n) => { bar.value = sent + n; }).catch((error) => errors.push(`${file.name}: ${error}`));
      sent += file.size;
    }
    busy = false;
    bar.hidden = true;
    form.reset();
    says.textContent = errors.join("\n");
    if (errors.length === 0) location.reload();
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); sendAll([...input.files]); });
  input.addEventListener("change", () => sendAll([...input.files]));
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    form.classList.add("over");
  });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) form.classList.remove("over"); });
  addEventListener("drop", (event) => {
    form.classList.remove("over");
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    // A folder has no content that could be sent.
    const files = [...event.dataTransfer.items].filter((item) => item.kind === "file" && !item.webkitGetAsEntry?.()?.isDirectory);
    sendAll(files.map((item) => item.getAsFile()));
  });
  addEventListener("beforeunload", (event) => { if (busy) event.preventDefault(); });
}
