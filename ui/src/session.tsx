// Who the leader takes this browser for, and what that allows.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";
import { ApiError, getJson, whenUnauthenticated } from "./api/client";
import { useFailure } from "./api/queries";

export type Permission =
  | "run.see"
  | "log.read"
  | "log.verify"
  | "log.delete"
  | "status.see"
  | "leader.operate"
  | "keys.manage"
  | "workers.manage"
  | "access.manage"
  | "audit.read";

export interface WhoAmI {
  kind: string;
  name: string;
  grants: { role: string; namespaces: string[] }[];
  permissions: string[];
  expires_at: string | null;
}

export interface Session {
  /** null: not known yet, or nobody. */
  who: WhoAmI | null;
  loading: boolean;
  unauthenticated: boolean;
  error: unknown;
  may: (permission: Permission) => boolean;
  refresh: () => void;
  /** Where somebody who signed out signs out at the provider, too, "": nowhere; null: nobody signed out. */
  left: string | null;
  /** Somebody signed out, or in: what was loaded is dropped, as it was for somebody else. */
  leave: (providerUrl: string) => void;
  enter: () => void;
}

const Context = createContext<Session | null>(null);

export function SessionProvider({ children }: { children: ReactNode }): ReactNode {
  const queries = useQueryClient();
  const [left, setLeft] = useState<string | null>(null);
  const asked = useQuery({
    queryKey: ["whoami"],
    queryFn: ({ signal }) => getJson<WhoAmI>("/whoami", {}, signal),
    staleTime: 60_000,
  });
  const { data, isPending } = asked;
  const error = useFailure(asked);
  useEffect(() => {
    whenUnauthenticated(() => {
      // Whoever asks that is answered the same: asked again for its own answer it would never end.
      if (queries.isFetching({ queryKey: ["whoami"] }) > 0) return;
      void queries.invalidateQueries({ queryKey: ["whoami"] });
    });
  }, [queries]);
  const session = useMemo<Session>(() => {
    const problem = error instanceof ApiError ? error : null;
    const who = problem?.status === 401 ? null : (data ?? null);
    return {
      who,
      loading: isPending && error === null,
      unauthenticated: problem?.status === 401,
      error,
      may: (permission) => who?.permissions.includes(permission) ?? false,
      refresh: () => void queries.invalidateQueries(),
      left,
      leave: (providerUrl) => {
        setLeft(providerUrl);
        void queries.resetQueries();
      },
      enter: () => {
        setLeft(null);
        void queries.resetQueries();
      },
    };
  }, [data, error, isPending, left, queries]);
  return <Context value={session}>{children}</Context>;
}

export function useSession(): Session {
  const session = useContext(Context);
  if (session === null) throw new Error("useSession() outside of SessionProvider");
  return session;
}
