// In place of react-custom-scrollbars-2, whose CommonJS default does not survive bundling: a picture does not scroll.
const Plain = ({ children }) => <div style={{ height: '100%' }}>{children}</div>;
export const Scrollbars = Plain;
export default Plain;
