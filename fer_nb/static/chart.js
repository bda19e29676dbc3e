// A Plotly figure. Plotly itself comes from the Python package `plotly`, through the kernel, once a page, compressed.

function load(model) {
  return new Promise((done, failed) => {
    const receive = async (message, buffers) => {
      if (message.kind !== 'library') return
      model.off('msg:custom', receive)
      try {
        const code = await new Response(new Blob(buffers).stream().pipeThrough(new DecompressionStream('gzip'))).text()
        const address = URL.createObjectURL(new Blob([code], {type: 'text/javascript'}))
        const script = Object.assign(document.createElement('script'), {src: address})
        script.onload = () => { URL.revokeObjectURL(address); done(window.Plotly) }
        script.onerror = () => failed(new Error('Plotly could not be loaded'))
        document.head.append(script)
      } catch (error) { failed(error) }
    }
    model.on('msg:custom', receive)
    model.send({kind: 'library'})
  })
}

async function render({model, el}) {
  const place = Object.assign(document.createElement('div'), {className: 'fer-chart', textContent: 'Loading the chart …'})
  place.setAttribute('role', 'img')
  el.append(place)
  window.ferPlotly ??= window.Plotly ? Promise.resolve(window.Plotly) : load(model)
  let plotly
  try { plotly = await window.ferPlotly }
  catch (error) {
    window.ferPlotly = undefined
    place.textContent = `The chart can't be drawn: ${error.message}. Reload the page.`
    return
  }
  place.textContent = ''
  const name = () => place.setAttribute('aria-label', model.get('description'))
  const draw = () => {
    const color = getComputedStyle(place).color, grid = color.replace('rgb(', 'rgba(').replace(')', ', .15)')
    const {data = [], layout = {}} = model.get('figure')
    const axis = {gridcolor: grid, zerolinecolor: grid, automargin: true, fixedrange: true}
    plotly.react(place, data, {...layout, font: {color}, paper_bgcolor: 'transparent', plot_bgcolor: 'transparent', autosize: true,
      xaxis: {...axis, ...layout.xaxis}, yaxis: {...axis, ...layout.yaxis}}, {displayModeBar: false, responsive: true})
  }
  const theme = matchMedia('(prefers-color-scheme: dark)')
  model.on('change:figure', draw)
  model.on('change:description', name)
  theme.addEventListener('change', draw)
  draw()
  name()
  return () => {
    model.off('change:figure', draw)
    model.off('change:description', name)
    theme.removeEventListener('change', draw)
    plotly.purge(place)
  }
}

export default {render}
