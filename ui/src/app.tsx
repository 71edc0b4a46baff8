import { MantineProvider } from "@mantine/core";
import { ModalsProvider } from "@mantine/modals";
import { Notifications } from "@mantine/notifications";
import { QueryClientProvider } from "@tanstack/react-query";
import { setNonce } from "get-nonce";
import { type ComponentType, lazy, type ReactNode, Suspense } from "react";
import { createBrowserRouter, Navigate, RouterProvider } from "react-router";
import { basePath } from "./api/client";
import { newQueryClient } from "./api/queries";
import { Frame } from "./frame";
import { Broken } from "./pages/broken";
import { Loading } from "./parts/states";
import { useZone } from "./parts/zone";
import { SessionProvider } from "./session";
import { readable, theme } from "./theme";

const Runs = lazy(() => import("./pages/runs"));
const logPage = () => import("./pages/log");
const LogPage = lazy(logPage);
// Who looks at a run opens one of its logs next: what the page of logs needs is there by then.
const RunPage = lazy(() =>
  import("./pages/run").then((page) => {
    setTimeout(() => void logPage().catch(() => {}), 300);
    return page;
  }),
);
const Compare = lazy(() => import("./pages/compare"));
const Search = lazy(() => import("./pages/search"));
const Workers = lazy(() => import("./pages/workers"));
const Storage = lazy(() => import("./pages/storage"));
const Access = lazy(() => import("./pages/access"));
const Login = lazy(() => import("./pages/login"));
const Missing = lazy(() => import("./pages/missing"));

const queries = newQueryClient();

/** A page, which is rendered anew when another time zone is chosen. */
function Zoned({ of: Page }: { of: ComponentType }): ReactNode {
  useZone();
  return (
    <Suspense fallback={<Loading />}>
      <Page />
    </Suspense>
  );
}

const router = createBrowserRouter(
  [
    { path: "login", element: <Zoned of={Login} />, errorElement: <Broken /> },
    {
      element: <Frame />,
      errorElement: <Broken />,
      children: [
        {
          // The frame stays where a page fails.
          errorElement: <Broken />,
          children: [
            { index: true, element: <Navigate to="runs" replace /> },
            { path: "runs", element: <Zoned of={Runs} /> },
            { path: "runs/:namespace/:run", element: <Zoned of={RunPage} /> },
            { path: "logs/:namespace/:run/:task/:attempt", element: <Zoned of={LogPage} /> },
            { path: "compare", element: <Zoned of={Compare} /> },
            { path: "search", element: <Zoned of={Search} /> },
            { path: "workers", element: <Zoned of={Workers} /> },
            { path: "storage", element: <Zoned of={Storage} /> },
            { path: "access", element: <Zoned of={Access} /> },
            { path: "*", element: <Zoned of={Missing} /> },
          ],
        },
      ],
    },
  ],
  { basename: basePath.replace(/\/$/, "") || "/" },
);

/** The nonce that the leader allows the one style element of the theme by. */
function styleNonce(): string {
  return document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content ?? "";
}

// For what keeps a page from scrolling behind a dialog.
setNonce(styleNonce());

export function App(): ReactNode {
  return (
    <MantineProvider theme={theme} defaultColorScheme="auto" getStyleNonce={styleNonce} cssVariablesResolver={readable}>
      <QueryClientProvider client={queries}>
        <ModalsProvider>
          <Notifications position="bottom-right" />
          <SessionProvider>
            <RouterProvider router={router} />
          </SessionProvider>
        </ModalsProvider>
      </QueryClientProvider>
    </MantineProvider>
  );
}
