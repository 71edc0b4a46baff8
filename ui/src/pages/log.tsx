import type { ReactNode } from "react";
import { Empty } from "../parts/states";

export default function Log(): ReactNode {
  return <Empty title="Log" />;
}
