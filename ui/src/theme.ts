import {
  Badge,
  type CSSVariablesResolver,
  createTheme,
  type MantineColorsTuple,
  Menu,
  MultiSelect,
  Select,
} from "@mantine/core";

const pine: MantineColorsTuple = [
  "#e9f7f2",
  "#d3ece3",
  "#a6d9c7",
  "#76c5a9",
  "#4fb591",
  "#35ab81",
  "#208a66",
  "#12674f",
  "#0e5541",
  "#073f2f",
];

const scrolls = { maxHeight: 240, overflowY: "auto" } as const;

export const theme = createTheme({
  primaryColor: "pine",
  primaryShade: { light: 7, dark: 7 },
  colors: { pine },
  autoContrast: true,
  fontFamily: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif",
  fontFamilyMonospace: "ui-monospace, 'SF Mono', 'Cascadia Mono', 'DejaVu Sans Mono', Menlo, Consolas, monospace",
  defaultRadius: "sm",
  cursorType: "pointer",
  components: {
    // In a line of text it stands in its middle.
    Badge: Badge.extend({ styles: { root: { verticalAlign: "middle" } } }),
    // The first item has the focus, not an element that a menu may not have.
    Menu: Menu.extend({ defaultProps: { withInitialFocusPlaceholder: false } }),
    // A list that scrolls itself: within another element that does, arrow keys are not known to reach all of it.
    Select: Select.extend({ defaultProps: { withScrollArea: false }, styles: { options: scrolls } }),
    MultiSelect: MultiSelect.extend({ defaultProps: { withScrollArea: false }, styles: { options: scrolls } }),
  },
});

/** Colours of text that Mantine has too pale to be read by everybody: a contrast of 4.5 at least. */
export const readable: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    "--mantine-color-dimmed": "#5c636a",
    "--mantine-color-placeholder": "#6c757d",
    "--mantine-color-error": "#c92a2a",
    "--mantine-color-green-light-color": "#1e6b31",
    "--mantine-color-red-light-color": "#b02323",
    "--mantine-color-orange-light-color": "#8f3d00",
    "--mantine-color-yellow-light-color": "#7a4f01",
    "--mantine-color-blue-light-color": "#1559a8",
    "--mantine-color-gray-light-color": "#495057",
    "--mantine-color-red-outline": "#c92a2a",
    "--mantine-color-orange-outline": "#a8470a",
  },
  dark: {
    "--mantine-color-dimmed": "#a3a3a3",
    "--mantine-color-placeholder": "#9a9a9a",
    "--mantine-color-error": "#ff8787",
    "--mantine-color-green-light-color": "#b2f2bb",
    "--mantine-color-red-light-color": "#ffa8a8",
    "--mantine-color-orange-light-color": "#ffc078",
    "--mantine-color-blue-light-color": "#a5d8ff",
  },
});
