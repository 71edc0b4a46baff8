import { Button } from "@mantine/core";
import type { ReactNode } from "react";
import { useRouteError } from "react-router";
import { Empty } from "../parts/states";

/** What a page that fails shows; after an update of the leader the files that an open page still names are gone. */
export function Broken(): ReactNode {
  const error = useRouteError();
  const updated = error instanceof TypeError && /module|import/i.test(error.message);
  return (
    <Empty title={updated ? "The leader was updated" : "This page failed"}>
      <p>{updated ? "Load the page anew to go on." : error instanceof Error ? error.message : String(error)}</p>
      <Button onClick={() => window.location.reload()}>Load anew</Button>
    </Empty>
  );
}
