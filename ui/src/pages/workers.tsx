import type { ReactNode } from "react";
import { Empty } from "../parts/states";

export default function Workers(): ReactNode {
  return <Empty title="Workers" />;
}
