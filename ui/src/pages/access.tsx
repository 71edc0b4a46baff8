import type { ReactNode } from "react";
import { Empty } from "../parts/states";

export default function Access(): ReactNode {
  return <Empty title="Access" />;
}
