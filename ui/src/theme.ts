import { createTheme, type MantineColorsTuple } from "@mantine/core";

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

export const theme = createTheme({
  primaryColor: "pine",
  primaryShade: { light: 7, dark: 5 },
  colors: { pine },
  autoContrast: true,
  fontFamily: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif",
  fontFamilyMonospace: "ui-monospace, 'SF Mono', 'Cascadia Mono', 'DejaVu Sans Mono', Menlo, Consolas, monospace",
  defaultRadius: "sm",
  cursorType: "pointer",
});
