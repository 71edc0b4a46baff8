import type { ReactNode } from "react";
import { Empty } from "../parts/states";

export default function Login(): ReactNode {
  return <Empty title="Login" />;
}
