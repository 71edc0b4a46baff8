import type { ReactNode } from "react";
import { Empty } from "../parts/states";

export default function Run(): ReactNode {
  return <Empty title="Run" />;
}
