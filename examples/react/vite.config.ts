import { defineConfig } from "vite";

// One React, also for the client, which is linked from beside this folder.
export default defineConfig({ resolve: { dedupe: ["react", "react-dom"] } });
