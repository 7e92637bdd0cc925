// One dashboard out of its JSON, drawn by @grafana/scenes with the Prometheus data source from npm.
import React from 'react';
import { createRoot } from 'react-dom/client';
import { MemoryRouter } from 'react-router-dom';
import { createTheme, dateTime, getDefaultTimeRange, ThemeContext } from '@grafana/data';
import { GlobalStyles, PortalContainer } from '@grafana/ui';
import { config, locationService } from '@grafana/runtime';
import {
  DataSourceVariable,
  EmbeddedScene,
  QueryVariable,
  SceneDataLayerSet,
  SceneDataTransformer,
  SceneGridItem,
  SceneGridLayout,
  SceneGridRow,
  SceneQueryRunner,
  SceneTimeRange,
  SceneVariableSet,
  VariableValueSelectors,
  VizPanel,
  dataLayers,
  sceneGraph,
} from '@grafana/scenes';
import { failures } from './backend.js';
import { install } from './runtime.js';

const { dashboard, from, to, mode, jsonData, width, open } = window.INPUT;
const theme = createTheme({ colors: { mode } });
config.theme2 = theme;
config.bootData = { user: { orgRole: 'Editor' }, settings: {}, navTree: [] };
install(jsonData);

const variables = new SceneVariableSet({
  variables: dashboard.templating.list.map(({ type, name, label, query, datasource, allValue, includeAll, multi, refresh, sort, current }) =>
    type === 'datasource'
      ? new DataSourceVariable({ name, label, pluginId: query, value: 'prometheus', text: 'Prometheus' })
      : new QueryVariable({ name, label, datasource, query, allValue, includeAll, isMulti: multi, refresh, sort, value: current.value, text: current.text, defaultToAll: true })
  ),
});

const panelKey = (id) => `panel-${id}`;

function viz({ id, type, title, description, options, fieldConfig, targets, datasource, transformations, links }) {
  const queries = targets?.length && new SceneQueryRunner({ datasource, queries: targets.map((target) => ({ ...target })), maxDataPointsFromWidth: true });
  const data = queries && transformations?.length ? new SceneDataTransformer({ $data: queries, transformations }) : queries;
  return new VizPanel({ key: panelKey(id), pluginId: type, title, description, options: options ?? {}, fieldConfig: fieldConfig ?? { defaults: {}, overrides: [] }, pluginVersion: '', $data: data || undefined });
}

const item = (panel) => {
  const { x, y, w, h } = panel.gridPos;
  return new SceneGridItem({ x, y, width: w, height: h, isResizable: false, isDraggable: false, body: viz(panel) });
};

// As Grafana reads a classic dashboard: panels after an open row are the row's, those of a folded row are inside it.
function grid(panels) {
  const children = [];
  let row;
  for (const panel of panels) {
    if (panel.type !== 'row') {
      (row ? row.children : children).push(item(panel));
      continue;
    }
    row = { key: panelKey(panel.id), title: panel.title, y: panel.gridPos.y, isCollapsed: panel.collapsed && !open, isCollapsible: true, children: panel.panels.map(item) };
    children.push(row);
    if (panel.collapsed) {
      row = undefined;
    }
  }
  return children.map((child) => (child instanceof SceneGridItem ? child : new SceneGridRow(child)));
}

const layers = new SceneDataLayerSet({
  layers: (dashboard.annotations?.list ?? []).map((query) => new dataLayers.AnnotationsDataLayer({ name: query.name, isEnabled: query.enable, isHidden: query.hide, query })),
});

const scene = new EmbeddedScene({
  $timeRange: new SceneTimeRange({ from: new Date(from).toISOString(), to: new Date(to).toISOString(), timeZone: 'utc' }),
  $variables: variables,
  $data: layers,
  controls: [new VariableValueSelectors({ layout: 'horizontal' })],
  body: new SceneGridLayout({ isLazy: false, children: grid(dashboard.panels) }),
});

// What a test asks of the drawn page: frames and links as Grafana made them.
window.SCENE = {
  failures,
  scene,
  sceneGraph,
  settled() {
    const panels = found();
    return panels.length > 0 && panels.every((panel) => !panel.isActive || !panel.state.$data || ['Done', 'Error'].includes(sceneGraph.getData(panel).state.data?.state));
  },
  panels() {
    return found().filter((panel) => panel.isActive).map((panel) => {
      const data = panel.state.$data ? panel.applyFieldConfig(sceneGraph.getData(panel).state.data) : undefined;
      const frames = (data?.series ?? []).map((frame) => ({
        refId: frame.refId,
        fields: frame.fields.map((field) => ({
          name: field.name,
          shown: field.state?.displayName ?? field.config.displayName ?? field.config.displayNameFromDS ?? field.name,
          type: field.type,
          values: [...field.values].map((value) => (typeof value === 'number' && !Number.isFinite(value) ? String(value) : value)),
          texts: field.display ? [...field.values].slice(0, 60).map((value) => { const { text = '', prefix = '', suffix = '', color } = field.display(value); return { text: `${prefix}${text}${suffix}`, color }; }) : [],
          links: field.getLinks && frame.length ? [0, frame.length - 1].flatMap((valueRowIndex) => field.getLinks({ valueRowIndex }).map(({ title, href }) => ({ title, href }))) : [],
        })),
      }));
      return { id: Number(panel.state.key.slice(6)), title: panel.state.title, error: data?.errors ?? data?.error, frames, annotations: (data?.annotations ?? []).map((frame) => ({ name: frame.name, length: frame.length, fields: frame.fields.map(({ name }) => name) })) };
    });
  },
  layers: () => layers.state.layers.map(({ state: { name, data } }) => ({ name, state: data?.state, length: data?.series?.map((frame) => frame.length), topic: data?.annotations?.map((frame) => frame.length) })),
  variables: () => variables.state.variables.map(({ state: { name, value, options, error } }) => ({ name, value, options: options?.map((one) => one.value), error: error && String(error) })),
};
const found = () => sceneGraph.findAllObjects(scene, (one) => one instanceof VizPanel);

function Page() {
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <MemoryRouter>
        <div id="page" style={{ background: theme.colors.background.canvas, width, padding: 8 }}>
          <h2 style={{ padding: '4px 8px', margin: 0 }}>{dashboard.title}</h2>
          <scene.Component model={scene} />
        </div>
      </MemoryRouter>
      <PortalContainer />
    </ThemeContext.Provider>
  );
}

createRoot(document.getElementById('root')).render(<Page />);
scene.activate?.();
