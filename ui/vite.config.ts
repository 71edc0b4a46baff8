import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [react()],
  // Relative: the leader may serve the UI under any path.
  base: "./",
  build: {
    outDir: "../leader/api/ui",
    emptyOutDir: true,
    target: "es2022",
    // No file is worth a data: URL, which the content security policy would refuse.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: {
      "/api": { target: process.env.JOBLOG_HTTP ?? "http://127.0.0.1:7081", changeOrigin: true, secure: false },
    },
  },
  test: { environment: "jsdom", globals: false, restoreMocks: true },
});
