// Scrolling through the slices of a scan with their contours.
'use strict';
(() => {
  const FRAMES_PER_S = 12;
  const AT_ONCE = 2; // slices that are fetched ahead at the same time
  const STEPS = {
    ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10,
    Home: -Infinity, End: Infinity,
  };

  class Scan {
    constructor(root) {
      this.base = root.dataset.base;
      this.slices = Number(root.dataset.slices);
      this.marked = new Set(root.dataset.marked.split(' ').map(Number));
      this.canvas = root.querySelector('canvas');
      this.slider = root.querySelector('input[type=range]');
      this.output = root.querySelector('output');
      this.button = root.querySelector('.play');
      this.contours = root.querySelector('input[type=checkbox]');
      this.pictures = new Map(); // slice: promise of its pictures
      this.fetching = 0;
      this.playing = false;
      this.asked = 0;
      this.drawn = 0;
      this.listen();
      this.show(Number(root.dataset.start));
    }

    listen() {
      this.slider.addEventListener('input', () => this.show(Number(this.slider.value)));
      this.contours.addEventListener('change', () => this.show(this.slice));
      this.button.addEventListener('click', () => this.play(!this.playing));
      this.canvas.addEventListener('wheel', event => {
        event.preventDefault();
        this.show(this.slice - Math.sign(event.deltaY));
      }, { passive: false });
      this.canvas.addEventListener('keydown', event => {
        if (event.key === ' ') this.play(!this.playing);
        else if (event.key in STEPS) this.show(this.slice + STEPS[event.key]);
        else return;
        event.preventDefault();
      });
    }

    async show(slice) {
      this.slice = Math.min(this.slices, Math.max(1, slice));
      this.slider.value = this.slice;
      this.output.textContent = `slice ${this.slice} of ${this.slices}`;
      const [wanted, turn] = [this.slice, ++this.asked];
      const pictures = await this.load(wanted).catch(() => null);
      // What was asked for before is drawn too, unless something later is drawn already.
      if (pictures && turn > this.drawn) {
        this.drawn = turn;
        this.draw(wanted, pictures);
      }
      if (wanted !== this.slice) return;
      if (!pictures) this.output.textContent = `slice ${wanted} cannot be loaded; reload the page`;
      this.fetchAhead();
    }

    draw(slice, { grey, contours }) {
      if (this.canvas.width !== grey.naturalWidth || this.canvas.height !== grey.naturalHeight) {
        this.canvas.width = grey.naturalWidth;
        this.canvas.height = grey.naturalHeight;
      }
      const context = this.canvas.getContext('2d');
      context.drawImage(grey, 0, 0);
      if (contours && this.contours.checked) context.drawImage(contours, 0, 0);
      this.canvas.dataset.shown = slice;
    }

    load(slice) {
      if (!this.pictures.has(slice)) {
        const loading = Promise.all([
          picture(`${this.base}/${slice}/grey`),
          this.marked.has(slice) ? picture(`${this.base}/${slice}/contours`) : null,
        ]).then(([grey, contours]) => ({ grey, contours }));
        loading.catch(() => this.pictures.delete(slice)); // tried again when it is shown
        this.pictures.set(slice, loading);
      }
      return this.pictures.get(slice);
    }

    fetchAhead() {
      while (this.fetching < AT_ONCE) {
        const next = this.nearestMissing();
        if (next === null) return;
        this.fetching += 1;
        this.load(next).then(() => true, () => false).then(whole => {
          this.fetching -= 1;
          if (whole) this.fetchAhead();
        });
      }
    }

    nearestMissing() {
      for (let step = 1; step < this.slices; step += 1) {
        for (const slice of [this.slice + step, this.slice - step]) {
          if (slice >= 1 && slice <= this.slices && !this.pictures.has(slice)) return slice;
        }
      }
      return null;
    }

    async play(on) {
      const begins = on && !this.playing;
      this.playing = on;
      this.button.textContent = on ? 'Pause' : 'Play';
      while (begins && this.playing) {
        const pause = new Promise(resolve => setTimeout(resolve, 1000 / FRAMES_PER_S));
        await this.show(this.slice < this.slices ? this.slice + 1 : 1); // as fast as slices come
        await pause;
      }
    }
  }

  async function picture(address) {
    const image = new Image();
    image.src = address;
    await image.decode();
    return image;
  }

  for (const section of document.querySelectorAll('section.result')) {
    const root = section.querySelector('.scan');
    if (!root) continue;
    const scan = new Scan(root);
    for (const jump of section.querySelectorAll('.jump')) {
      jump.addEventListener('click', () => {
        scan.play(false);
        scan.show(Number(jump.dataset.slice));
        scan.canvas.scrollIntoView({ block: 'nearest' });
      });
    }
  }
})();
