// Grafana's panel types as npm does not carry them: each draws with Grafana's own chart component from what Grafana's own
// libraries made of the data.
import React from 'react';
import {
  FieldColorModeId,
  FieldType,
  EventBusSrv,
  PanelPlugin,
  getDisplayValueAlignmentFactors,
  getFieldDisplayName,
  getFieldDisplayValues,
  identityOverrideProcessor,
  renderMarkdown,
} from '@grafana/data';
import { BigValue, PanelContextProvider, Table, TimeSeries, usePanelContext, useTheme2, VizRepeater } from '@grafana/ui';
import { heatmap } from './heatmap.js';

const BUS = new EventBusSrv();
const CUSTOM = [
  'drawStyle', 'lineInterpolation', 'lineWidth', 'lineStyle', 'fillOpacity', 'showPoints', 'spanNulls', 'scaleDistribution',
  'thresholdsStyle', 'axisSoftMax', 'axisPlacement', 'hideFrom', 'width', 'cellOptions', 'align', 'inspect',
];

function plugin(component, meta) {
  const made = new PanelPlugin(component);
  made.meta = { id: meta, name: meta, info: { logos: {}, version: '' }, module: '', sort: 0 };
  return made.useFieldConfig({
    standardOptions: { color: { defaultValue: { mode: meta === 'stat' || meta === 'table' ? FieldColorModeId.Thresholds : FieldColorModeId.PaletteClassic } } },
    useCustomConfig: (builder) => {
      for (const path of CUSTOM) {
        builder.addCustomEditor({
          id: path,
          path,
          name: path,
          editor: () => null,
          override: () => null,
          process: identityOverrideProcessor,
          shouldApply: () => true,
          settings: {},
          defaultValue: { drawStyle: 'line', lineInterpolation: 'linear', scaleDistribution: { type: 'linear' } }[path],
        });
      }
    },
  });
}

// As Grafana's panels say that there is nothing to draw: the panel's own text, or "No data".
function Nothing({ fieldConfig }) {
  const theme = useTheme2();
  return <div className="nothing" style={{ display: 'grid', placeItems: 'center', height: '100%', color: theme.colors.text.secondary }}>{fieldConfig.defaults.noValue ?? 'No data'}</div>;
}

// npm's copy of the chart forgets a field's display name when it joins frames, and colours by name then differ from the legend's.
const named = (series) =>
  series
    .filter((frame) => frame.fields.some(({ type, values }) => type === FieldType.number && values.length))
    .map((frame) => ({
      ...frame,
      fields: frame.fields.map((field) => (field.type === FieldType.number ? { ...field, name: getFieldDisplayName(field, frame, series) } : field)),
    }));

function Lines({ data, fieldConfig, options, width, height, timeZone, replaceVariables }) {
  const theme = useTheme2();
  const context = usePanelContext();
  const frames = React.useMemo(() => named(data.series), [data.series]);
  if (!frames.length) {
    return <Nothing fieldConfig={fieldConfig} />;
  }
  const events = (data.annotations ?? []).filter((frame) => !frame.fields.some(({ name }) => name === 'trace_id'));
  const exemplars = (data.annotations ?? []).filter((frame) => frame.fields.some(({ name }) => name === 'trace_id'));
  return (
    <PanelContextProvider value={{ ...context, eventBus: context.eventBus ?? BUS, eventsScope: 'panel' }}>
    <TimeSeries frames={frames} timeRange={data.timeRange} timeZone={timeZone} width={width} height={height} legend={options.legend} structureRev={data.structureRev} options={options} replaceVariables={replaceVariables}>
      {(builder, aligned) => (
        <>
          <Notes config={builder} frames={events} theme={theme} />
          <Dots config={builder} frames={exemplars} theme={theme} scale={scaleOf(builder)} />
        </>
      )}
    </TimeSeries>
    </PanelContextProvider>
  );
}

const scaleOf = (builder) => builder.getSeries?.()[0]?.props.scaleKey ?? builder.scales?.find((one) => one.props.scaleKey !== 'x')?.props.scaleKey;

// Annotations as Grafana marks them: a dashed line and a triangle on the time axis.
function Notes({ config, frames, theme }) {
  React.useLayoutEffect(() => {
    config.addHook('draw', (plot) => {
      const { ctx, bbox } = plot;
      ctx.save();
      for (const frame of frames) {
        const [time, ends, colour] = ['time', 'timeEnd', 'color'].map((name) => frame.fields.find((field) => field.name === name)?.values ?? []);
        time.forEach((at, index) => {
          const x = Math.round(plot.valToPos(at, 'x', true));
          if (x < bbox.left || x > bbox.left + bbox.width) {
            return;
          }
          ctx.strokeStyle = ctx.fillStyle = theme.visualization.getColorByName(colour[index] ?? 'red');
          const to = ends[index] ? Math.min(plot.valToPos(ends[index], 'x', true), bbox.left + bbox.width) : x;
          ctx.globalAlpha = 0.08;
          ctx.fillRect(x, bbox.top, to - x, bbox.height);
          ctx.globalAlpha = 1;
          ctx.setLineDash([5 * devicePixelRatio, 5 * devicePixelRatio]);
          ctx.lineWidth = devicePixelRatio;
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
          ctx.fillRect(x - 2, bbox.top + bbox.height, Math.max(to - x, 5), 4 * devicePixelRatio);
        });
      }
      ctx.restore();
    });
  }, []);
  return null;
}

// Exemplars as Grafana marks them: diamonds at their own value.
function Dots({ config, frames, theme, scale }) {
  React.useLayoutEffect(() => {
    config.addHook('draw', (plot) => {
      const { ctx, bbox } = plot;
      const key = scale ?? Object.keys(plot.scales).find((one) => one !== 'x');
      ctx.save();
      ctx.fillStyle = theme.visualization.getColorByName('blue');
      for (const frame of frames) {
        const [time, value] = ['Time', 'Value'].map((name) => frame.fields.find((field) => field.name === name).values);
        time.forEach((at, index) => {
          const x = plot.valToPos(at, 'x', true);
          const { min, max } = plot.scales[key];
          const y = plot.valToPos(Math.max(min, Math.min(max, value[index])), key, true);
          if (x < bbox.left || x > bbox.left + bbox.width) {
            return;
          }
          const size = 4 * devicePixelRatio;
          ctx.beginPath();
          ctx.moveTo(x, y - size);
          ctx.lineTo(x + size, y);
          ctx.lineTo(x, y + size);
          ctx.lineTo(x - size, y);
          ctx.fill();
        });
      }
      ctx.restore();
    });
  }, []);
  return null;
}

// As Grafana's stat panel: every value that getFieldDisplayValues finds, also "nothing".
function Figures({ data, fieldConfig, options, width, height, timeZone, replaceVariables }) {
  const theme = useTheme2();
  const values = getFieldDisplayValues({ fieldConfig, reduceOptions: options.reduceOptions, replaceVariables, theme, data: data.series, sparkline: options.graphMode !== 'none', timeZone });
  const factors = getDisplayValueAlignmentFactors(values);
  return (
    <VizRepeater
      getValues={() => values}
      getAlignmentFactors={() => factors}
      renderValue={({ value, width: w, height: h, count }) => (
        <BigValue value={value.display} count={count} sparkline={value.sparkline} colorMode={options.colorMode} graphMode={options.graphMode} justifyMode={options.justifyMode} textMode={options.textMode} wideLayout={options.wideLayout} alignmentFactors={factors} width={w} height={h} theme={theme} />
      )}
      width={width}
      height={height}
      source={data}
      itemSpacing={3}
      renderCounter={0}
      autoGrid={true}
      orientation={options.orientation ?? 'auto'}
    />
  );
}

function Rows({ data, fieldConfig, options, width, height }) {
  const frame = data.series[options.frameIndex ?? 0];
  if (!frame?.fields.length || !frame.length) {
    return <Nothing fieldConfig={fieldConfig} />;
  }
  return <Table data={frame} width={width} height={height} cellHeight={options.cellHeight} initialSortBy={options.sortBy} />;
}

function Heat({ data, fieldConfig, width, height }) {
  const theme = useTheme2();
  const ref = React.useRef(null);
  const frame = data.series.find(({ meta }) => meta?.type === 'heatmap-rows');
  React.useEffect(() => {
    if (frame) {
      heatmap(ref.current, frame, theme);
    }
  }, [frame]);
  return frame ? <canvas ref={ref} width={width * 2} height={height * 2} style={{ width, height }} /> : <Nothing fieldConfig={fieldConfig} />;
}

function Text({ options }) {
  return <div className="markdown-html" style={{ padding: 8 }} dangerouslySetInnerHTML={{ __html: renderMarkdown(options.content) }} />;
}

export const PLUGINS = {
  timeseries: plugin(Lines, 'timeseries'),
  stat: plugin(Figures, 'stat'),
  table: plugin(Rows, 'table'),
  heatmap: plugin(Heat, 'heatmap'),
  text: plugin(Text, 'text'),
};
PLUGINS.timeseries.setDataSupport({ annotations: true, alertStates: true });
PLUGINS.text.meta.skipDataQuery = true;
