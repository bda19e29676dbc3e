// A button: a click asks Python for a file, the answer is saved by the browser.

function render({model, el}) {
  const button = Object.assign(document.createElement('button'), {type: 'button', className: 'fer-download'})
  const follow = () => { button.textContent = model.get('description'); button.disabled = model.get('disabled') }
  const receive = (message, buffers) => {
    if (message.kind !== 'file') return
    const address = URL.createObjectURL(new Blob(buffers, {type: message.type}))
    Object.assign(document.createElement('a'), {href: address, download: message.name}).click()
    setTimeout(() => URL.revokeObjectURL(address), 10_000)
  }
  button.onclick = () => model.send({kind: 'wanted'})
  model.on('msg:custom', receive)
  model.on('change', follow)
  follow()
  el.append(button)
  return () => { model.off('msg:custom', receive); model.off('change', follow) }
}

export default {render}
