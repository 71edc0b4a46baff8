import { Anchor } from "@mantine/core";
import type { ReactNode } from "react";
import { Link } from "react-router";
import { Empty } from "../parts/states";

export default function Missing(): ReactNode {
  return (
    <Empty title="There is no such page">
      <Anchor component={Link} to="/runs">
        See the runs
      </Anchor>
    </Empty>
  );
}
