// A picture with a text alternative; no picture, no place.

function render({model, el}) {
  const image = Object.assign(document.createElement('img'), {className: 'fer-picture'})
  const name = () => { image.alt = model.get('description') }
  const draw = () => {
    const content = model.get('content')
    const before = image.src
    image.hidden = !content?.byteLength
    if (!image.hidden) image.src = URL.createObjectURL(new Blob([content], {type: 'image/jpeg'}))
    if (before) URL.revokeObjectURL(before)
  }
  model.on('change:content', draw)
  model.on('change:description', name)
  draw()
  name()
  el.append(image)
  return () => { model.off('change:content', draw); model.off('change:description', name); URL.revokeObjectURL(image.src) }
}

export default {render}
