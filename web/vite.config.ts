import { defineConfig } from "vite";

export default defineConfig({
  build: {
    outDir: "../service/page",
    emptyOutDir: true,
    // Styles and pictures within a document would break the service's Content-Security-Policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 2000,
    rolldownOptions: { input: ["index.html", "docs.html"] },
  },
  server: { proxy: { "/v1": "http://127.0.0.1:8000", "/health": "http://127.0.0.1:8000" } },
});
