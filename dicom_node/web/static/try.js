// Uploads of the page "Try": files, a folder or a drop, with progress.
'use strict';
(() => {
  const form = document.querySelector('form.upload');
  if (!form) return;
  const error = document.querySelector('p.error');
  const uploading = form.querySelector('.uploading');
  const bar = uploading.querySelector('progress');
  const status = uploading.querySelector('span');
  const most = Number(form.dataset.mostMb) * 2 ** 20;
  const megabytes = size => `${(size / 2 ** 20).toFixed(size < 2 ** 20 * 10 ? 1 : 0)} MB`;

  function fail(message) {
    error.textContent = message;
    error.hidden = false;
    uploading.hidden = true;
    form.classList.remove('busy');
  }

  function send(files) {
    const size = files.reduce((sum, file) => sum + file.size, 0);
    if (!files.length) return fail('Nothing was dropped; drop a folder, a zip or a NIfTI file.');
    if (size > most) {
      return fail(`The upload has ${megabytes(size)}, at most ${megabytes(most)} are taken; drop a single series.`);
    }
    const data = new FormData();
    // Names are not sent: they may be a patient's.
    files.forEach((file, index) => data.append('file', file, String(index)));
    const request = new XMLHttpRequest();
    request.upload.onprogress = event => {
      bar.value = event.loaded / event.total;
      status.textContent = event.loaded < event.total
        ? `${megabytes(event.loaded)} of ${megabytes(event.total)}` : 'uploaded; one moment';
    };
    request.onload = () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* an answer of a proxy */ }
      if (answer.at) location.assign(answer.at);
      else fail(answer.error || `The node answered ${request.status}: ${request.responseText.slice(0, 200)}`);
    };
    request.onerror = () => fail('The connection broke off; look whether the node runs, then drop the files again.');
    request.open('POST', form.action);
    request.setRequestHeader('Accept', 'application/json');
    error.hidden = true;
    uploading.hidden = false;
    form.classList.add('busy');
    request.send(data);
  }

  const read = (reader) => new Promise((resolve, reject) => reader.readEntries(resolve, reject));
  const open = (entry) => new Promise((resolve, reject) => entry.file(resolve, reject));

  async function filesOf(entry) {
    if (entry.isFile) return [await open(entry)];
    const reader = entry.createReader();
    const found = [];
    // It returns a hundred at a time, and none at the end.
    for (let some = await read(reader); some.length; some = await read(reader)) {
      for (const inner of some) found.push(...await filesOf(inner));
    }
    return found;
  }

  form.addEventListener('dragover', event => { event.preventDefault(); form.classList.add('over'); });
  form.addEventListener('dragleave', () => form.classList.remove('over'));
  form.addEventListener('drop', async event => {
    event.preventDefault();
    form.classList.remove('over');
    const plain = [...event.dataTransfer.files];
    // Before the first await: the list of items is empty after it.
    const entries = [...event.dataTransfer.items].map(item => item.webkitGetAsEntry && item.webkitGetAsEntry());
    try {
      const found = await Promise.all(entries.filter(Boolean).map(filesOf));
      send(found.length ? found.flat() : plain);
    } catch {
      fail('A file cannot be read; look whether you may read it, then drop it again.');
    }
  });
  for (const input of form.querySelectorAll('input[type=file]')) {
    input.addEventListener('change', () => { send([...input.files]); input.value = ''; });
  }
  form.querySelector('.folder').hidden = !('webkitdirectory' in HTMLInputElement.prototype);
})();
