import type { ReactNode } from "react";
import { Empty } from "../parts/states";

export default function Runs(): ReactNode {
  return <Empty title="Runs" />;
}
