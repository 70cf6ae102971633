// Small vectors and matrices, row by row. Inverses are written out: cofactors over the determinant (Golub & Van Loan, Matrix Computations,
// 1.1 and 2.1), whose error grows with the square of the condition number, relative to 1e-16.
#pragma once

#include <cmath>
#include <limits>

namespace aisle {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Vector2 {
    double x = 0.0, y = 0.0;
};

struct Vector3 {
    double x = 0.0, y = 0.0, z = 0.0;
};

inline Vector2 operator+(Vector2 a, Vector2 b) { return {a.x + b.x, a.y + b.y}; }
inline Vector2 operator-(Vector2 a, Vector2 b) { return {a.x - b.x, a.y - b.y}; }
inline Vector2 operator*(double s, Vector2 a) { return {s * a.x, s * a.y}; }
inline double dot(Vector2 a, Vector2 b) { return a.x * b.x + a.y * b.y; }
inline Vector3 operator+(Vector3 a, Vector3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
inline Vector3 operator-(Vector3 a, Vector3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
inline Vector3 operator*(double s, Vector3 a) { return {s * a.x, s * a.y, s * a.z}; }
inline double dot(Vector3 a, Vector3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

struct Matrix2 {
    double xx = 0.0, xy = 0.0, yx = 0.0, yy = 0.0;

    Vector2 operator*(Vector2 v) const { return {xx * v.x + xy * v.y, yx * v.x + yy * v.y}; }
};

inline Matrix2 operator+(Matrix2 a, Matrix2 b) { return {a.xx + b.xx, a.xy + b.xy, a.yx + b.yx, a.yy + b.yy}; }
inline Matrix2 operator*(double s, Matrix2 a) { return {s * a.xx, s * a.xy, s * a.yx, s * a.yy}; }
inline Matrix2 outer(Vector2 v) { return {v.x * v.x, v.x * v.y, v.y * v.x, v.y * v.y}; }

inline Matrix2 inverse(Matrix2 m) {
    const double determinant = m.xx * m.yy - m.xy * m.yx;
    return {m.yy / determinant, -m.xy / determinant, -m.yx / determinant, m.xx / determinant};
}

// Standard deviation along the longest axis of a symmetric covariance.
inline double greatest_deviation(Matrix2 c) { return std::sqrt((c.xx + c.yy) / 2 + std::hypot((c.xx - c.yy) / 2, c.xy)); }

// d^T C^-1 d for symmetric C.
inline double squared_mahalanobis(Vector2 d, Matrix2 c) {
    return (c.yy * d.x * d.x - 2.0 * c.xy * d.x * d.y + c.xx * d.y * d.y) / (c.xx * c.yy - c.xy * c.xy);
}

struct Matrix3 {
    double e[9] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0};

    static Matrix3 load(const double* from) {
        Matrix3 m;
        for (int i = 0; i < 9; ++i) m.e[i] = from[i];
        return m;
    }

    static Matrix3 diagonal(double x, double y, double z) {
        Matrix3 m;
        m.e[0] = x, m.e[4] = y, m.e[8] = z;
        return m;
    }

    void store(double* to) const {
        for (int i = 0; i < 9; ++i) to[i] = e[i];
    }

    Vector3 operator*(Vector3 v) const {
        return {e[0] * v.x + e[1] * v.y + e[2] * v.z, e[3] * v.x + e[4] * v.y + e[5] * v.z, e[6] * v.x + e[7] * v.y + e[8] * v.z};
    }

    // The first two columns times a vector.
    Vector3 operator*(Vector2 v) const { return {e[0] * v.x + e[1] * v.y, e[3] * v.x + e[4] * v.y, e[6] * v.x + e[7] * v.y}; }

    double trace() const { return e[0] + e[4] + e[8]; }
};

inline Matrix3 operator+(const Matrix3& a, const Matrix3& b) {
    Matrix3 m;
    for (int i = 0; i < 9; ++i) m.e[i] = a.e[i] + b.e[i];
    return m;
}

inline Matrix3 operator-(const Matrix3& a, const Matrix3& b) {
    Matrix3 m;
    for (int i = 0; i < 9; ++i) m.e[i] = a.e[i] - b.e[i];
    return m;
}

inline Matrix3 operator*(double s, const Matrix3& a) {
    Matrix3 m;
    for (int i = 0; i < 9; ++i) m.e[i] = s * a.e[i];
    return m;
}

inline Matrix3 outer(Vector3 v) {
    Matrix3 m;
    const double c[3] = {v.x, v.y, v.z};
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) m.e[3 * i + j] = c[i] * c[j];
    return m;
}

inline Matrix3 inverse(const Matrix3& m) {
    const double* e = m.e;
    Matrix3 r;
    r.e[0] = e[4] * e[8] - e[5] * e[7];
    r.e[1] = e[2] * e[7] - e[1] * e[8];
    r.e[2] = e[1] * e[5] - e[2] * e[4];
    r.e[3] = e[5] * e[6] - e[3] * e[8];
    r.e[4] = e[0] * e[8] - e[2] * e[6];
    r.e[5] = e[2] * e[3] - e[0] * e[5];
    r.e[6] = e[3] * e[7] - e[4] * e[6];
    r.e[7] = e[1] * e[6] - e[0] * e[7];
    r.e[8] = e[0] * e[4] - e[1] * e[3];
    const double determinant = e[0] * r.e[0] + e[1] * r.e[3] + e[2] * r.e[6];
    for (int i = 0; i < 9; ++i) r.e[i] /= determinant;
    return r;
}

}  // namespace aisle
