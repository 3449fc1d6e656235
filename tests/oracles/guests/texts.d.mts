export declare const guestNames: (folder: string) => string[];
export declare const textsOf: (folder: string, name: string) => { onXen: string; here: string };
