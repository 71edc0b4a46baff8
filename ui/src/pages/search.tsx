import type { ReactNode } from "react";
import { Empty } from "../parts/states";

export default function Search(): ReactNode {
  return <Empty title="Search" />;
}
