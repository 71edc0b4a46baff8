import type { ReactNode } from "react";
import { Empty } from "../parts/states";

export default function Storage(): ReactNode {
  return <Empty title="Storage" />;
}
