// Grafana's assistant belongs to the query editor, which nobody opens here.
export const QueryWithAssistantButton = () => null;
export const useAssistant = () => ({ isAvailable: false });
export const createAssistantContextItem = () => null;
export const useProvideQuestions = () => {};
export const useProvidePageContext = () => () => {};
export const providePageContext = () => () => {};
export const isAssistantAvailable = () => ({ subscribe: () => ({ unsubscribe() {} }) });
export const openAssistant = () => {};
export const useInlineAssistant = () => ({});
export const createTool = () => null;
