// Node-RED for a test: on this machine alone, asking nobody for anything.
module.exports = {
  uiHost: "127.0.0.1",
  flowFile: "flows.json",
  credentialSecret: false,
  telemetry: { enabled: false, updateNotification: false },
  externalModules: { autoInstall: false, palette: { allowInstall: false }, modules: { allowInstall: false } },
  editorTheme: { tours: false, palette: { catalogues: [] }, projects: { enabled: false } },
  diagnostics: { enabled: false, ui: false },
  logging: { console: { level: "info", metrics: false, audit: false } },
};
