/** Files a second over the round trip, as SVG. */
import { parse, View } from 'vega'
import { compile, type TopLevelSpec } from 'vega-lite'

export interface Curve {
  readonly name: string
  readonly points: readonly { readonly ms: number; readonly filesPerSecond: number }[]
}

/** Of the curves, in their order. They are seen on light and on dark paper. */
const COLOURS = ['#2f81f7', '#d1570c', '#1a9e5c']
/** Text and axes. A page may be dark while the browser is light: each colour can be read on both. */
const [ON_LIGHT, ON_DARK] = ['#57606a', '#9198a1']

/** The round trip whose rates stand beside their points. */
const NUMBERED = 20

/** `disk`: the rate of Orthanc's own disk, a line across. */
export async function plot(curves: readonly Curve[], disk: number | undefined): Promise<string> {
  const values = curves.flatMap(({ name, points }) => points.map(point => ({ ...point, name })))
  const most = Math.max(...values.map(({ ms }) => ms))
  const across = disk === undefined ? [] : [0, most].map(ms => ({ ms, filesPerSecond: disk }))
  const ink = { value: 'currentColor' } as const
  const x = { field: 'ms', type: 'quantitative' } as const
  const y = { field: 'filesPerSecond', type: 'quantitative' } as const
  const label = { align: 'left', dx: 8, fontSize: 13 } as const
  const spec: TopLevelSpec = {
    description: `Files a second over the round trip: ${curves.map(({ name }) => name).join(', ')}`,
    width: 520,
    height: 300,
    padding: 6,
    background: 'transparent',
    data: { values },
    encoding: {
      x: {
        ...x,
        title: 'round trip between Orthanc and the store, ms',
        axis: { values: [...new Set(values.map(({ ms }) => ms))] },
      },
      y: { ...y, title: 'files a second' },
      color: {
        field: 'name',
        legend: null,
        scale: { domain: curves.map(({ name }) => name), range: COLOURS.slice(0, curves.length) },
      },
    },
    layer: [
      { mark: { type: 'line', strokeWidth: 2.5 } },
      { mark: { type: 'point', filled: true, size: 55, opacity: 1 } },
      {
        transform: [{ filter: `datum.ms === ${most}` }],
        mark: { type: 'text', ...label, fontWeight: 'bold' },
        encoding: { text: { field: 'name' } },
      },
      {
        transform: [{ filter: `datum.ms === ${NUMBERED}` }],
        mark: { type: 'text', dy: -12, dx: 8, fontSize: 13 },
        encoding: { text: { ...y, format: '.0f' } },
      },
      { data: { values: across }, mark: { type: 'line', strokeDash: [4, 4], opacity: 0.8 }, encoding: { color: ink } },
      {
        data: { values: across.slice(-1) },
        mark: { type: 'text', ...label },
        encoding: { text: { value: "Orthanc's own disk" }, color: ink },
      },
    ],
    config: {
      font: 'system-ui, sans-serif',
      view: { stroke: null },
      axis: {
        labelColor: 'currentColor',
        titleColor: 'currentColor',
        tickColor: 'currentColor',
        domainColor: 'currentColor',
        gridColor: 'currentColor',
        gridOpacity: 0.15,
        labelFontSize: 12,
        titleFontSize: 13,
        titleFontWeight: 'normal',
        titlePadding: 10,
      },
      axisX: { grid: false, labelOverlap: false, labelFlush: false },
      axisY: { domain: false, ticks: false, tickCount: 6, labelPadding: 10 },
    },
  }
  const view = new View(parse(compile(spec).spec), { renderer: 'none' })
  const svg = await view.toSVG()
  const style = `<style>:root{color:${ON_LIGHT}}@media (prefers-color-scheme:dark){:root{color:${ON_DARK}}}</style>`
  return `${svg.replace(/^<svg[^>]*>/, head => `${head}${style}`)}\n`
}
