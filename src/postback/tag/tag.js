/*
 * Postback's browser tag: it sends what happens on a page to an event source of this server.
 *
 *   <script>window.postback = window.postback || function () { (postback.q = postback.q || []).push(arguments) }</script>
 *   <script src="https://SERVER/tag/v/DIGEST.js" integrity="…" crossorigin data-source="SELLER_ID" async></script>
 *
 *   postback('purchase', { value: 49.95, currency: 'EUR', order_id: '98765', email: 'jane@example.com' })
 *   postback('consent', 'granted')
 *
 * Nothing is stored or sent before the server has said what the source requires. Everything that is sent carries the id
 * and the time of the call, so that a repetition is the same event. No e-mail address or phone number is sent, only its
 * digest.
 *
 * `make tag` writes tag.min.js, which is what pages load. It is to stay below 3 kB, compressed.
 */
(() => {
  const { document, history, location, navigator } = window
  const script = document.currentScript
  const { source, testEventCode } = script.dataset
  const endpoint = script.src.replace(/\/tag(\/v\/\w+)?\.js.*/, `/tag/${source}`)

  const storageKey = 'postback.' + source // events that could not be sent yet
  const cookieName = '_postback' // the click that led here; a cookie, so that the checkout's subdomain has it, too
  const clickDays = 90
  const eventDays = 7 // the server takes no older ones from browsers
  const mostStored = 50
  const mostAtOnce = 20
  const mostCharacters = 2e4 // of 3 bytes at most: browsers send 64 KiB for a page that is being left

  // In the order in which they are looked for; the first is Postback's own, of its click links.
  const clickIds =
    'pb_click_id,gclid,gbraid,wbraid,dclid,fbclid,msclkid,ttclid,twclid,li_fat_id,epik,sccid,ScCid,rdt_cid,yclid,irclickid'
  const personal = /[^\s@](@|%40)[^\s@]+\.\w|^\s*\+\d[\d\s()/.-]{6,}$/

  let settings // what the source requires; undefined until the server has said it
  let clockOffset = 0 // milliseconds to add to the visitor's clock
  let consent // 'granted', 'denied', or undefined while nobody has said
  const refusals = [] // whether TCF and GPP refuse
  let calls = [] // calls until the settings are there, and consent: only then may the cookie be read for them
  let queue = [] // events until the server has them
  let inFlight = 0 // how many of the first of them are on their way
  let failures = 0 // in a row
  let timer
  let viewed // the page of the last page_view

  const say = (message, level = 'error') => console[level]('postback: ' + message)

  // --- What the visitor allows ---

  const optedOut = navigator.globalPrivacyControl

  const mayRead = () => settings && (consent || !settings.consent_required)

  const maySend = () => mayRead() && consent != 'denied' && !(optedOut && settings.gpc == 'drop')

  const mayStore = () => maySend() && !optedOut

  function decide(decision) {
    if (decision != 'granted' && decision != 'denied') return say("consent is 'granted' or 'denied'.")
    consent = decision
    if (decision == 'denied') {
      queue = queue.slice(0, inFlight)
      calls = []
      setCookie('', 0)
      try { localStorage.removeItem(storageKey) } catch {}
    } else if (settings) begin()
  }

  // A page may have several consent platforms, or one that speaks for several laws: each may refuse.
  function hear(platform, refused) {
    refusals[platform] = refused
    decide(refusals.includes(true) ? 'denied' : 'granted')
  }

  // IAB TCF: storage (purpose 1) and measuring ads (purpose 7), where the GDPR applies.
  function followTcf(data, known) {
    const { gdprApplies, eventStatus, purpose } = data || {}
    if (!known || (gdprApplies !== false && eventStatus == 'cmpuishown')) return
    hear(0, gdprApplies !== false && !(purpose && purpose.consents[1] && purpose.consents[7]))
  }

  // IAB GPP: an opt-out of sale, sharing or targeted advertising in any section of the United States, as in SaleOptOut: 1
  // or, in the oldest, OptOutSale: 'Y'.
  function followGpp(data) {
    const { signalStatus, parsedSections } = (data && data.pingData) || {}
    const sections = Object.keys(parsedSections || {}).filter((name) => /^us/.test(name))
    if (signalStatus != 'ready' || !sections[0]) return
    const said = sections.flatMap((name) => parsedSections[name]).flatMap(Object.entries)
    hear(1, said.some(([name, value]) => /OptOut(Sale)?$/.test(name) && /[1Y]/.test(value)))
  }

  // --- What is remembered in the visitor's browser ---

  // On the widest domain that takes it: a browser refuses those that are too wide.
  function setCookie(value, seconds) {
    const labels = location.hostname.split('.')
    const domains = labels.map((_, from) => labels.slice(from).join('.')).reverse()
    ;[...domains, ''].some((domain) => {
      document.cookie = `${cookieName}=${value};path=/;samesite=lax;max-age=${seconds};domain=${domain}`
      return value && readCookie() == value
    })
  }

  const readCookie = () => (document.cookie.match(`(?:^|; )${cookieName}=([^;]*)`) || [])[1]

  function clickOf(text) {
    const [click_id_type, click_id] = (text || '').split(':')
    try {
      return click_id && { click_id: decodeURIComponent(click_id), click_id_type }
    } catch {} // a cookie that another script has changed
  }

  const parameters = new URLSearchParams(location.search)
  const landed = clickIds.split(',').find((name) => parameters.get(name))
  const landing = landed && `${landed}:${encodeURIComponent(parameters.get(landed))}`

  const same = (one) => (other) => one.event_id == other.event_id && one.event_type == other.event_type

  // Changes the stored events; other tabs may have stored some, too.
  function store(change) {
    if (!mayStore()) return
    try {
      const stored = change(JSON.parse(localStorage.getItem(storageKey)) || []).slice(-mostStored)
      if (stored[0]) localStorage.setItem(storageKey, JSON.stringify(stored))
      else localStorage.removeItem(storageKey)
    } catch {} // no room, or the visitor lets no page store anything: then they are in memory only
  }

  const storeQueue = () => store((stored) => [...stored.filter((one) => !queue.some(same(one))), ...queue])

  // --- Events ---

  async function digest(text, what) {
    if (!crypto.subtle) return say(`${what} is not sent: pages without https can't hash it.`, 'warn')
    const bytes = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))
    return hex(new Uint8Array(bytes))
  }

  const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')

  function hashedEmail(email) {
    const address = String(email).trim().toLowerCase()
    return /^\S+@\S+\.\S+$/.test(address) ? digest(address, 'email') : say('email is not an e-mail address.', 'warn')
  }

  function hashedPhone(phone) {
    const number = String(phone).replace(/\(0\)|\((?!0)|[\s)/.-]/g, '').replace(/^00/, '+')
    return /^\+[1-9]\d{6,14}$/.test(number)
      ? digest(number, 'phone')
      : say('phone needs its country code, as in +49 30 123456.', 'warn')
  }

  async function add(type, facts, time, url) {
    if (!settings.event_types.includes(type)) {
      return say(`${type} is not an event type of this source: ${settings.event_types.join(', ')}.`)
    }
    const { event_id, custom_event_name, email, phone, hashed_email, hashed_phone, uids, ...data } = facts || {}
    if (data.value != null && !data.currency) say("value counts nothing without currency.", 'warn')
    if (data.order_id != null) data.order_id = String(data.order_id)
    if (optedOut && settings.gpc == 'drop') return say('nothing is sent: Global Privacy Control.', 'info')
    const user_match = optedOut
      ? undefined
      : {
          ...clickOf(landing || (mayStore() && readCookie())),
          hashed_email: email ? await hashedEmail(email) : hashed_email,
          hashed_phone: phone ? await hashedPhone(phone) : hashed_phone,
          uids
        }
    const event = {
      event_id: event_id != null ? String(event_id) : data.order_id || hex(crypto.getRandomValues(new Uint8Array(16))),
      event_type: type,
      event_time: new Date(time + clockOffset).toISOString(),
      event_source_url: url,
      custom_event_name,
      user_match,
      custom_data: data
    }
    if (consent == 'denied') return
    queue.push(JSON.parse(JSON.stringify(event, withoutPersonal)))
    queue = [...queue.slice(0, inFlight), ...queue.slice(inFlight).slice(-mostStored)]
    if (!failures) flushSoon()
  }

  function withoutPersonal(name, value) {
    if (!personal.test(name) && !(typeof value == 'string' && personal.test(value))) return value
    say(`${name} is not sent: it looks personal. Use email or phone.`, 'warn')
  }

  // --- Sending ---

  const ask = (options) => fetch(endpoint, { credentials: 'omit', referrerPolicy: 'origin', ...options })

  function flushSoon(milliseconds = 50) {
    clearTimeout(timer)
    timer = setTimeout(flush, milliseconds)
  }

  function flush(leaving) {
    if (!maySend() || (inFlight && leaving !== true)) return
    let batch = queue.slice(inFlight, inFlight + mostAtOnce), body
    do {
      body = JSON.stringify({ events: batch, consent, test_event_code: testEventCode })
    } while (body.length > mostCharacters && batch.length > 1 && (batch = batch.slice(0, batch.length / 2)))
    if (!batch[0]) return
    if (!('keepalive' in Request.prototype)) {
      return navigator.sendBeacon(endpoint, body) ? sent(batch) : later()
    }
    inFlight += batch.length
    ask({ method: 'POST', body, keepalive: body.length < mostCharacters })
      .then(async (response) => {
        if (response.status == 429 || response.status > 499) throw response.headers.get('retry-after')
        report(await response.json())
        sent(batch)
      })
      .catch(later)
      .finally(() => {
        inFlight -= batch.length
        if (queue[0] && !failures) flushSoon()
      })
  }

  function sent(batch) {
    failures = 0
    queue = queue.filter((one) => !batch.some(same(one)))
    store((stored) => stored.filter((one) => !batch.some(same(one))))
  }

  // The server says when, or it is tried again after 1, 2, 4 … 256 seconds.
  function later(seconds) {
    storeQueue()
    flushSoon(pause(seconds))
  }

  function pause(seconds) {
    failures += 1
    return 1000 * (+seconds || 2 ** Math.min(failures - 1, 8))
  }

  function report({ error, errors = [], warnings = [], dropped }) {
    if (error) say(error.message)
    errors.forEach(({ message }) => say(message))
    if (testEventCode) warnings.forEach((warning) => say(warning, 'warn'))
    if (dropped) say('events dropped: ' + dropped, 'info')
  }

  // --- Page views ---

  const address = () => location.origin + location.pathname

  function view() {
    if (!settings.page_view || viewed == location.href.split('#')[0]) return
    viewed = location.href.split('#')[0]
    call('page_view')
  }

  function watchPages() {
    const { pushState } = history
    history.pushState = function () {
      pushState.apply(this, arguments)
      view()
    }
    addEventListener('popstate', view)
    addEventListener('pageshow', ({ persisted }) => {
      if (persisted) viewed = 0
      view()
    })
    view()
  }

  // --- Calls of the page ---

  function call(type, facts) {
    if (type == 'consent') return decide(facts)
    if (consent == 'denied') return
    const made = [type, facts, Date.now(), address()]
    if (mayRead()) add(...made)
    else calls.push(made)
  }

  // Again after each consent: what must not be touched before.
  function begin() {
    if (mayStore()) {
      if (landing) setCookie(landing, clickDays * 864e2)
      store((stored) => {
        const recent = stored.filter((one) => Date.parse(one.event_time) > Date.now() - eventDays * 864e5)
        queue.push(...recent.filter((one) => !queue.some(same(one))))
        return recent
      })
    }
    if (mayRead()) calls.splice(0).forEach((made) => add(...made))
    if (!failures) flushSoon()
  }

  async function start() {
    try {
      const response = await ask()
      if (!response.ok) throw response.headers.get('retry-after')
      settings = await response.json()
    } catch (seconds) {
      if (!failures) {
        say(`the settings of ${source} can't be read. Is ${location.hostname} in its allowed_domains?`, 'warn')
      }
      return setTimeout(start, pause(seconds))
    }
    failures = 0
    clockOffset = settings.now - Date.now()
    if (window.__tcfapi) __tcfapi('addEventListener', 2, followTcf)
    if (window.__gpp) __gpp('addEventListener', followGpp)
    begin()
    watchPages()
    addEventListener('online', () => flushSoon())
    addEventListener('pagehide', () => {
      storeQueue()
      flush(true)
    })
    document.addEventListener('visibilitychange', () => document.hidden && flush(true))
  }

  const before = window.postback
  if (before && before.loaded) return say('the tag is on this page twice.', 'warn')
  if (!source) return say('the script element needs data-source.')
  window.postback = call
  call.loaded = true
  ;((before && before.q) || []).forEach((made) => call(...made))
  // A page that a browser renders in advance has no visitor yet.
  if (document.prerendering) document.addEventListener('prerenderingchange', start, { once: true })
  else start()
})()
