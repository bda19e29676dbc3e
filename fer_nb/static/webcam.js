// Camera, files and dropped pictures -> JPEGs of at most 1280 pixels, sent to Python one message each (see nbs/10_widgets.ipynb).

const LONGEST_SIDE = 1280
const LARGEST_RAW = 6 * 1024 * 1024          // a websocket message over 10 MiB ends the connection without a word
const PATIENCE = 60_000                      // milliseconds to wait for an answer

const NO_CAMERA = {
  insecure: 'The camera works on secure pages only: open this one with https, or as http://localhost.',
  NotAllowedError: 'The camera is blocked. Allow it in the browser (beside the address), then start it again.',
  NotFoundError: 'No camera was found. Connect one and start it again, or upload a picture.',
  NotReadableError: 'Another program uses the camera. Close it there, then start it here again.',
}

const element = (tag, properties = {}, children = []) => {
  const made = Object.assign(document.createElement(tag), properties)
  made.append(...children)
  return made
}

const pause = milliseconds => new Promise(done => setTimeout(done, milliseconds))

// A video frame or a decoded picture as a JPEG; transparent parts become white.
function shrink(source, width, height) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height))
  const canvas = element('canvas', {width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale))})
  const context = canvas.getContext('2d')
  context.fillStyle = 'white'
  context.fillRect(0, 0, canvas.width, canvas.height)
  context.imageSmoothingQuality = 'high'
  context.drawImage(source, 0, 0, canvas.width, canvas.height)
  return new Promise((done, failed) => canvas.toBlob(blob => blob ? done(blob) : failed(new Error('the browser could not encode the picture')), 'image/jpeg', .92))
}

class Webcam {
  constructor(model, el) {
    this.model = model
    this.waiting = new Map()                 // number of a picture -> what to call when it was answered
    this.sent = 0
    this.running = false                     // the live loop
    this.build(el)
    this.onMessage = message => this.answered(message)
    this.onChange = () => this.follow()
    model.on('msg:custom', this.onMessage)
    model.on('change', this.onChange)
    this.follow()
  }

  build(el) {
    this.video = element('video', {className: 'fer-video', muted: true, playsInline: true, hidden: true})
    this.video.setAttribute('aria-label', 'Camera preview')
    this.hint = element('p', {className: 'fer-hint', textContent: 'Start the camera, or drop a picture here.'})
    this.stage = element('div', {className: 'fer-stage'}, [this.video, this.hint])
    this.start = element('button', {type: 'button', textContent: 'Start camera', onclick: () => this.stream ? this.stop() : this.open()})
    this.shot = element('button', {type: 'button', textContent: 'Take a picture', disabled: true, onclick: () => this.snapshot()})
    this.upload = element('button', {type: 'button', textContent: 'Upload…', onclick: () => this.files.click()})
    this.files = element('input', {type: 'file', accept: 'image/*', multiple: true, hidden: true, onchange: () => this.take([...this.files.files])})
    this.live = element('input', {type: 'checkbox', disabled: true, onchange: () => this.set('live', this.live.checked)})
    this.interval = element('input', {type: 'range', min: .2, max: 10, step: .1, oninput: () => this.set('interval', Number(this.interval.value))})
    this.seconds = element('output')
    this.camera = element('select', {hidden: true, onchange: () => this.open(this.camera.value)})
    this.camera.setAttribute('aria-label', 'Camera')
    this.status = element('p', {className: 'fer-status'})
    this.status.setAttribute('role', 'status')
    const privacy = 'Pictures go to the server that runs this page, are looked at in its memory, and are stored nowhere.'
    el.append(element('div', {className: 'fer-webcam'}, [this.stage,
      element('div', {className: 'fer-row'}, [this.start, this.shot, this.upload, this.files, this.camera]),
      element('div', {className: 'fer-row'}, [element('label', {}, [this.live, ' Live']), element('label', {className: 'fer-interval'}, ['every ', this.interval, this.seconds])]),
      this.status, element('p', {className: 'fer-privacy', textContent: privacy})]))
    for (const kind of ['dragenter', 'dragover']) this.stage.addEventListener(kind, event => { event.preventDefault(); this.stage.classList.add('fer-over') })
    this.stage.addEventListener('dragleave', () => this.stage.classList.remove('fer-over'))
    this.stage.addEventListener('drop', event => {
      event.preventDefault()
      this.stage.classList.remove('fer-over')
      this.take([...event.dataTransfer.files])
    })
  }

  set(name, value) {
    this.model.set(name, value)
    this.model.save_changes()
  }

  follow() {                                 // Python or another view of this widget may have changed it
    this.live.checked = this.model.get('live')
    this.interval.value = this.model.get('interval')
    this.seconds.textContent = ` ${Number(this.model.get('interval')).toFixed(1)} s`
    this.loop()
  }

  say(text, problem = false) {
    this.status.textContent = text
    this.status.classList.toggle('fer-problem', problem)
  }

  async open(id) {
    if (!navigator.mediaDevices?.getUserMedia) return this.say(NO_CAMERA.insecure, true)
    this.close()
    this.start.disabled = this.camera.disabled = true       // one request at a time: a second stream could not be stopped
    try {
      const stream = await navigator.mediaDevices.getUserMedia({video: {width: {ideal: LONGEST_SIDE}, ...(id ? {deviceId: {exact: id}} : {facingMode: 'user'})}})
      this.video.srcObject = stream
      this.stream = stream
      if (this.gone) return this.close()
      await this.video.play()
      stream.getVideoTracks()[0].onended = () => { this.stop(); this.say('The camera was disconnected.', true) }
      await this.cameras()
      this.say('')
      this.ready(true)
      this.loop()
    } catch (error) {
      this.stop()
      this.say(NO_CAMERA[error.name] ?? `The camera could not be started: ${error.message}`, true)
    } finally {
      this.start.disabled = this.camera.disabled = false
    }
  }

  async cameras() {                          // their names are known only once one of them was allowed
    const found = (await navigator.mediaDevices.enumerateDevices()).filter(device => device.kind === 'videoinput')
    this.camera.replaceChildren(...found.map((device, i) => element('option', {value: device.deviceId, textContent: device.label || `Camera ${i + 1}`})))
    this.camera.value = this.stream?.getVideoTracks()[0].getSettings().deviceId ?? ''
    this.camera.hidden = found.length < 2
  }

  close() {
    this.ready(false)
    for (const track of this.stream?.getTracks() ?? []) track.stop()
    this.stream = this.video.srcObject = null
  }

  stop() {
    this.close()
    if (this.model.get('live')) this.set('live', false)
  }

  ready(on) {
    this.on = on
    this.video.hidden = !on
    this.hint.hidden = on
    this.shot.disabled = this.live.disabled = !on
    this.start.textContent = on ? 'Stop camera' : 'Start camera'
  }

  async frame(origin) {
    return this.send(await shrink(this.video, this.video.videoWidth, this.video.videoHeight), 'camera', origin)
  }

  async snapshot() {
    this.shot.disabled = true
    try { await this.frame('snapshot') }
    catch (error) { this.say(`No picture could be taken: ${error.message}`, true) }
    finally { this.shot.disabled = !this.on }
  }

  async loop() {                             // the next frame only when the last one was answered
    if (this.running) return
    this.running = true
    try {
      while (this.on && this.model.get('live') && !this.gone) {
        const start = performance.now()
        if (!document.hidden && await this.frame('live')) this.set('live', false)
        await pause(Math.max(document.hidden ? 200 : 0, 1000 * this.model.get('interval') - (performance.now() - start)))
      }
    } catch (error) {
      this.set('live', false)
      this.say(`No picture could be taken: ${error.message}`, true)
    } finally { this.running = false }
  }

  async take(files) {
    const problems = []
    for (const file of files) {
      this.say(`Reading ${file.name} …`)
      const problem = await this.read(file).catch(error => `it can't be read (${error.message})`)
      if (problem) problems.push(`${file.name}: ${problem}`)
    }
    this.files.value = ''
    if (problems.length) this.say(problems.join('; '), true)
  }

  async read(file) {
    let blob = file
    try {
      const picture = await createImageBitmap(file, {imageOrientation: 'from-image'})
      blob = await shrink(picture, picture.width, picture.height)
      picture.close()
    } catch {                                // a kind that browsers don't know, such as TIFF; the server may
      if (file.size > LARGEST_RAW) return 'this browser can\'t read it, and it is too large to send as it is. Save it as JPEG or PNG.'
    }
    return this.send(blob, file.name, 'upload')
  }

  async send(blob, name, origin) {           // what went wrong, if anything did
    const content = await blob.arrayBuffer()
    const id = ++this.sent
    if (origin !== 'live') this.busy()
    const answer = new Promise(done => {
      const late = setTimeout(() => done({problem: 'The server does not answer. Reload the page.'}), PATIENCE)
      this.waiting.set(id, message => { clearTimeout(late); done(message) })
    })
    this.model.send({kind: 'picture', id, name, origin}, undefined, [content])
    const {problem, said} = await answer
    this.waiting.delete(id)
    if (problem || origin !== 'live') this.conclude(problem, said)
    return problem
  }

  busy() { this.say('Looking …') }

  answered(message) {
    if (message.kind === 'answer') this.waiting.get(message.id)?.(message)
    if (message.kind === 'busy') this.busy()
    if (message.kind === 'said') this.conclude(message.problem, message.said)
  }

  conclude(problem, said) {                  // on a phone the answer is below what is seen
    this.say(problem ?? said ?? '', Boolean(problem))
    if (!problem && said && matchMedia('(max-width: 56rem)').matches) document.querySelector('.fer-side')?.scrollIntoView({behavior: 'smooth', block: 'start'})
  }

  destroy() {
    this.gone = true
    this.close()
    this.model.off('msg:custom', this.onMessage)
    this.model.off('change', this.onChange)
  }
}

export default {
  render({model, el}) {
    const webcam = new Webcam(model, el)
    return () => webcam.destroy()
  },
}
