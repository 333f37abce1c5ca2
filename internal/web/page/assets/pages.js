// What a page does beyond its links and forms, which work without this. It makes no markup
// of any text: Trusted Types hold it to that.
'use strict';
(() => {
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

  // The viewer's own time beside UTC.
  const localTimes = (root) => {
    const form = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: 'medium', timeStyle: 'short' });
    for (const el of all('time[data-time]', root)) {
      if (el.dataset.done) continue;
      el.dataset.done = '1';
      const at = new Date(el.dateTime);
      if (Number.isNaN(at.getTime()) || at.getTimezoneOffset() === 0) continue;
      const span = document.createElement('span');
      span.className = 'local';
      span.textContent = ' (' + form.format(at) + ')';
      (el.nextElementSibling || el).after(span);
    }
  };

  // What was revealed is hidden again: after its time, before it is printed, when the page
  // is left, and where the page says so, when the window is.
  const hideSecrets = () => {
    const box = document.querySelector('[data-hide-after]');
    if (!box) return;
    const note = document.querySelector('[data-hidden-note]');
    const clock = document.querySelector('[data-hide-clock]');
    const until = Date.now() + 1000 * Number(box.dataset.hideAfter);
    let timer = 0;
    const hide = () => {
      clearInterval(timer);
      for (const el of all('[data-secret]')) el.textContent = '•••';
      if (clock) clock.textContent = '';
      if (note) note.hidden = false;
    };
    const tick = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      if (left <= 0) hide();
      else if (clock) clock.textContent = String(left);
    };
    timer = setInterval(tick, 1000);
    tick();
    addEventListener('beforeprint', hide);
    addEventListener('pagehide', hide);
    if (box.dataset.hideOnBlur === 'true') {
      addEventListener('blur', hide);
      document.addEventListener('visibilitychange', () => { if (document.hidden) hide(); });
    }
  };

  // A form is sent once, however often its button is pressed.
  const sendOnce = () => {
    document.addEventListener('submit', (event) => {
      const form = event.target;
      if (form.dataset.sent) {
        event.preventDefault();
        return;
      }
      form.dataset.sent = '1';
      setTimeout(() => { for (const b of all('button', form)) b.disabled = true; }, 0);
    });
    addEventListener('pageshow', (event) => {
      if (!event.persisted) return;
      for (const form of all('form')) {
        delete form.dataset.sent;
        for (const b of all('button', form)) b.disabled = false;
      }
    });
  };

  // A live part is fetched again when the server says that it changed. A document that the
  // browser parsed by itself runs no script, and needs no text made into markup.
  const fetchPage = () => new Promise((resolve, reject) => {
    const x = new XMLHttpRequest();
    x.open('GET', location.href);
    x.responseType = 'document';
    x.onload = () => (x.status === 200 && x.response ? resolve(x.response) : reject(new Error('answered ' + x.status)));
    x.onerror = () => reject(new Error('no answer'));
    x.send();
  });

  const live = () => {
    const part = () => document.querySelector('[data-live]');
    if (!part() || typeof EventSource === 'undefined') return;
    const state = document.querySelector('[data-live-state]');
    const say = (name) => {
      if (!state || state.dataset.now === name) return;
      state.dataset.now = name;
      state.textContent = state.getAttribute('data-say-' + name) || '';
    };
    const address = part().dataset.live;
    let source = null;
    let wait = 1000;
    const renew = () => fetchPage().then((doc) => {
      const next = doc.querySelector('[data-live]');
      if (!next) {
        say('gone');
        return;
      }
      // A field that somebody is typing into is left alone.
      if (part().contains(document.activeElement) && document.activeElement.matches('input, select, textarea')) return;
      const ready = document.adoptNode(next);
      part().replaceWith(ready);
      localTimes(ready);
    });
    const connect = () => {
      source = new EventSource(address);
      source.addEventListener('open', () => {
        wait = 1000;
        say('on');
      });
      source.addEventListener('changed', () => { renew().catch(() => say('off')); });
      source.addEventListener('gone', () => {
        source.close();
        say('gone');
        location.reload();
      });
      source.addEventListener('error', () => {
        say('off');
        if (source.readyState !== EventSource.CLOSED) return;
        // The server answered with an error: a session that ended, or a server that starts.
        source.close();
        setTimeout(() => { renew().catch(() => {}).then(connect); }, wait);
        wait = Math.min(30000, wait * 2);
      });
    };
    connect();
    addEventListener('pagehide', () => source && source.close());
    addEventListener('pageshow', (event) => { if (event.persisted) connect(); });
  };

  localTimes(document);
  hideSecrets();
  sendOnce();
  live();
  const faults = document.getElementById('faults');
  if (faults) faults.focus();
})();
