// What Grafana itself is to its libraries: services, standard options, transformations. Each is the library's own where npm has
// it; what the server or the app would do stands in here and in backend.js.
import {
  DataTopic,
  FieldType,
  LoadingState,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  identityOverrideProcessor,
  numberOverrideProcessor,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  thresholdsOverrideProcessor,
  toDataFrame,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from '@grafana/data';
import {
  config,
  setBackendSrv,
  setDataSourceSrv,
  setEchoSrv,
  setPluginImportUtils,
  setRunRequest,
  setTemplateSrv,
} from '@grafana/runtime';
import { PrometheusDatasource } from '@grafana/prometheus';
import { sceneGraph } from '@grafana/scenes';
import { from, map, of } from 'rxjs';
import { fetched } from './backend.js';
import { PLUGINS } from './panels.jsx';

const SOURCES = [
  { uid: 'prometheus', type: 'prometheus', name: 'Prometheus' },
  { uid: 'tempo', type: 'tempo', name: 'Tempo' },
  { uid: 'jaeger', type: 'jaeger', name: 'Jaeger' },
];

const numeric = { process: numberOverrideProcessor, shouldApply: (field) => field.type === FieldType.number };
const OPTIONS = {
  unit: { process: unitOverrideProcessor },
  min: numeric,
  max: numeric,
  decimals: numeric,
  fieldMinMax: { process: identityOverrideProcessor },
  displayName: { process: displayNameOverrideProcessor },
  noValue: { process: (value) => value },
  color: { process: identityOverrideProcessor },
  links: { process: dataLinksOverrideProcessor },
  mappings: { process: valueMappingsOverrideProcessor },
  thresholds: { process: thresholdsOverrideProcessor },
};

export function install(jsonData) {
  standardFieldConfigEditorRegistry.setInit(() =>
    Object.entries(OPTIONS).map(([id, { process, shouldApply }]) => ({
      id,
      path: id,
      name: id,
      editor: () => null,
      override: () => null,
      settings: {},
      process,
      shouldApply: shouldApply ?? (() => true),
    }))
  );
  standardTransformersRegistry.setInit(() =>
    [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer].map((transformation) => ({
      id: transformation.id,
      name: transformation.name,
      transformation: async () => transformation,
      editor: () => null,
    }))
  );
  setEchoSrv({ addEvent() {}, addBackend() {}, flush() {} });
  setBackendSrv({
    fetch: (request) => from(fetched(request)),
    get: async (url, params) => (await fetched({ url, params })).data,
    post: async (url, data) => (await fetched({ url, data, method: 'POST' })).data,
    datasourceRequest: fetched,
    resolveCancelerIfExists() {},
  });
  const replace = (text, scoped, format) => {
    const scene = scoped?.__sceneObject?.value;
    return scene ? sceneGraph.interpolate(scene.valueOf?.() ?? scene, text, scoped, format) : text;
  };
  const templates = { replace, getVariables: () => [], containsTemplate: (text) => /\$/.test(text ?? ''), updateTimeRange() {}, getAdhocFilters: () => [] };
  setTemplateSrv(templates);
  const settings = SOURCES.map((source) => ({
    ...source,
    id: 1,
    url: '/prometheus',
    access: 'proxy',
    isDefault: source.uid === 'prometheus',
    readOnly: true,
    jsonData: source.uid === 'prometheus' ? jsonData : {},
    meta: { id: source.type, name: source.name, info: { logos: {} }, module: '', baseUrl: '', type: 'datasource', metrics: true, annotations: true },
  }));
  config.datasources = Object.fromEntries(settings.map((one) => [one.name, one]));
  config.defaultDatasource = 'Prometheus';
  const prometheus = new PrometheusDatasource(settings[0], templates);
  prometheus.meta = settings[0].meta;
  prometheus.uid = 'prometheus';
  const chosen = (ref) => settings.find(({ uid }) => uid === (typeof ref === 'string' ? ref : ref?.uid)) ?? settings[0];
  setDataSourceSrv({
    get: async () => prometheus,
    getInstanceSettings: chosen,
    getList: ({ type } = {}) => settings.filter((one) => !type || one.type === type),
    reload() {},
    registerRuntimeDataSource() {},
  });
  // As runRequest in Grafana's core, without streaming and retries.
  setRunRequest((datasource, request, query) =>
    (query ?? datasource.query.bind(datasource))(request).pipe(
      map(({ data, state, error, errors }) => {
        const frames = data.map((frame) => (frame.fields ? toDataFrame(frame) : frame)); // a variable's values are no frames
        const noted = (frame) => frame.meta?.dataTopic === DataTopic.Annotations;
        return {
          state: state ?? LoadingState.Done,
          series: frames.filter((frame) => !noted(frame)),
          annotations: frames.filter(noted),
          timeRange: request.range,
          request,
          error,
          errors,
        };
      })
    )
  );
  setPluginImportUtils({
    importPanelPlugin: async (id) => PLUGINS[id],
    getPanelPluginFromCache: (id) => PLUGINS[id],
  });
  return of(true);
}
