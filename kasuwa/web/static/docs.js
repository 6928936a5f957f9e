// The page of the APIs. What would call its maker's servers is switched off; the policy allows only ours.
const sources = JSON.parse(document.querySelector("#reference").dataset.sources);
Scalar.createApiReference("#reference", {
  sources,
  agent: { disabled: true },
  mcp: { disabled: true },
  telemetry: false,
  withDefaultFonts: false,
  hideClientButton: true,
  showDeveloperTools: "never",
  persistAuth: false,
});
