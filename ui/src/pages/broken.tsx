import { Button } from "@mantine/core";
import { type ReactNode, useEffect, useState } from "react";
import { useRouteError } from "react-router";
import { basePath } from "../api/client";
import { AGAIN_MS } from "../api/queries";
import { Empty } from "../parts/states";

async function answers(): Promise<boolean> {
  try {
    return (await fetch(basePath, { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

/** Whether the leader answers, asked until it does; null: not known yet. */
function useAnswers(wanted: boolean): boolean | null {
  const [there, setThere] = useState<boolean | null>(null);
  useEffect(() => {
    if (!wanted || there) return;
    const look = (): void => void answers().then(setThere);
    if (there === null) look();
    const timer = setInterval(look, AGAIN_MS);
    return () => clearInterval(timer);
  }, [wanted, there]);
  return there;
}

/**
 * What a page that fails shows. Its own files could not be had where the leader is gone: it opens when that is back;
 * or the leader was updated, and the files that an open page still names are gone.
 */
export function Broken(): ReactNode {
  const error = useRouteError();
  const unloaded = error instanceof Error && /module|import|preload/i.test(error.message);
  const there = useAnswers(unloaded);
  const [wasGone, setWasGone] = useState(false);
  useEffect(() => {
    if (there === false) setWasGone(true);
    if (there && wasGone) window.location.reload();
  }, [there, wasGone]);
  if (unloaded && (there === null || !there || wasGone))
    return <Empty title="The leader can't be reached">This page opens by itself as soon as it answers.</Empty>;
  return (
    <Empty title={unloaded ? "The leader was updated" : "This page failed"}>
      <p>{unloaded ? "Load the page anew to go on." : error instanceof Error ? error.message : String(error)}</p>
      <Button onClick={() => window.location.reload()}>Load anew</Button>
    </Empty>
  );
}
